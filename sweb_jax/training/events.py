"""An event file of TensorBoard that grows while a run goes on, without TensorFlow."""

from __future__ import annotations

from collections.abc import Mapping

from etils import epath

from sweb_jax.runtime import files


class EventFile:
  """Events in the order in which they are added.

  A TensorBoard that has the file open reads on from where it was, and never sees a file that is renamed over it. So
  this file is extended in place; an object store has no such files, and gets it whole. An event's size depends on its
  names and its step alone: a run that goes on from a saved state writes the same bytes but for the values, and a reader
  finds its place again.
  """

  def __init__(self, path: epath.PathLike):
    self._path = epath.Path(path)
    self._data = bytearray()
    self._written = 0

  def add(self, kind: str, step: int, seconds: float, values: Mapping[str, float]) -> None:
    """Adds the values of a step as `KIND/NAME`; `seconds` is Unix time."""
    from tensorboard.compat.proto import event_pb2, summary_pb2

    if not self._data:
      self._append(event_pb2.Event(wall_time=seconds, file_version='brain.Event:2'))
    named = [summary_pb2.Summary.Value(tag=f'{kind}/{k}', simple_value=v) for k, v in values.items()]
    self._append(event_pb2.Event(wall_time=seconds, step=step, summary=summary_pb2.Summary(value=named)))

  def write(self) -> None:
    """Brings the file up to date. Raises FullDiskError."""
    if files.on_object_store(self._path):
      files.write_bytes(self._path, bytes(self._data))
      return
    with files.full_disk_named(self._path):
      self._path.parent.mkdir(parents=True, exist_ok=True)
      if not self._path.exists():
        self._path.touch()
        self._written = 0
      with open(self._path, 'r+b') as f:
        f.seek(self._written)
        f.write(self._data[self._written :])
        f.truncate()
    self._written = len(self._data)

  def _append(self, event) -> None:
    from tensorboard.summary.writer.record_writer import RecordWriter

    RecordWriter(_Sink(self._data)).write(event.SerializeToString())


class _Sink:
  """What a RecordWriter writes to."""

  def __init__(self, data: bytearray):
    self.write = data.extend
