"""Finished samples on disk: immutable chunk files, so that a killed run loses at most the chunk in flight.

Chunks are written in a thread of their own: neither a slow disk nor an object store holds up who draws the samples.
"""

from __future__ import annotations

import concurrent.futures
import time

from etils import epath

from sweb_jax import layout, records
from sweb_jax.records import Sample
from sweb_jax.runtime import files
from sweb_jax.runtime.by_problem import ByProblem

_CHUNK_SAMPLES = 256
_CHUNK_SECONDS = 60.0


class Store:
  """The samples of one folder, in files of `layout.CHUNKS`. The samples are their own ledger:
  `len(sample.tokens)` was charged, and a sample is in exactly one chunk.

  Args:
    folder: of the chunks; made where it is not there.
    prefix: comes before the number in the names of new chunks, so that several processes may write into one folder.
  """

  def __init__(self, folder: epath.PathLike, prefix: str = ''):
    self._folder = epath.Path(folder)
    self._folder.mkdir(parents=True, exist_ok=True)
    self._waiting: list[Sample] = []
    self._since = time.monotonic()
    self._prefix = prefix
    self._writer = concurrent.futures.ThreadPoolExecutor(1)
    self._writes: list[concurrent.futures.Future] = []
    self._next = layout.next_number(layout.CHUNKS, (p.name for p in self._chunks()), prefix)

  def _chunks(self) -> list[epath.Path]:
    return sorted(self._folder.glob(layout.CHUNKS))

  def by_problem(self) -> ByProblem[Sample]:
    """All samples in chunks; of one that is there twice, as a process of an earlier run was slow to die, the first.

    Raises RecordError naming the file where one is damaged.
    """
    self._collect(self._writes)
    return ByProblem(Sample, self._chunks())

  def add(self, sample: Sample) -> None:
    """Takes a finished sample; begins a chunk file when enough are waiting or enough time has passed.

    Raises OSError where an earlier chunk could not be written.
    """
    self._waiting.append(sample)
    if len(self._waiting) >= _CHUNK_SAMPLES or time.monotonic() - self._since > _CHUNK_SECONDS:
      self._begin()
      self._collect([w for w in self._writes if w.done()])

  def flush(self) -> None:
    """Writes what is waiting, and returns when everything added is on disk. Raises OSError where it cannot be."""
    if self._waiting:
      self._begin()
    self._collect(self._writes)

  def _begin(self) -> None:
    path = self._folder / layout.numbered(layout.CHUNKS, self._next, self._prefix)
    self._writes.append(self._writer.submit(_write, path, self._waiting))
    self._next += 1
    self._waiting = []
    self._since = time.monotonic()

  def _collect(self, writes: list[concurrent.futures.Future]) -> None:
    """Waits for writes, and raises the first error."""
    self._writes = [w for w in self._writes if w not in writes]
    for w in writes:
      w.result()


def _write(path: epath.Path, samples: list[Sample]) -> None:
  files.write_text(path, records.dumps(samples))
