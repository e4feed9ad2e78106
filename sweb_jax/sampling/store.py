"""Finished samples on disk: immutable chunk files, so that a killed run loses at most the chunk in flight."""

from __future__ import annotations

import time
from collections.abc import Iterator

from etils import epath

from sweb_jax import records
from sweb_jax.records import Sample
from sweb_jax.runtime import files

_CHUNK_SAMPLES = 256
_CHUNK_SECONDS = 60.0


class Store:
  """The samples of one job: `chunk-000000.jsonl`, ... in its folder. The samples are their own ledger:
  `len(sample.tokens)` was charged, and a sample is in exactly one chunk.
  """

  def __init__(self, folder: epath.PathLike):
    self._folder = epath.Path(folder)
    self._folder.mkdir(parents=True, exist_ok=True)
    self._waiting: list[Sample] = []
    self._since = time.monotonic()
    chunks = self._chunks()
    self._next = 1 + int(chunks[-1].stem.split('-')[1]) if chunks else 0

  def _chunks(self) -> list[epath.Path]:
    return sorted(self._folder.glob('chunk-*.jsonl'))

  def read(self) -> Iterator[Sample]:
    """All stored samples, in the order they finished. Raises RecordError naming the file where a chunk is damaged."""
    for chunk in self._chunks():
      yield from records.read(Sample, chunk)

  def add(self, sample: Sample) -> None:
    """Takes a finished sample; writes a chunk when enough are waiting or enough time has passed."""
    self._waiting.append(sample)
    if len(self._waiting) >= _CHUNK_SAMPLES or time.monotonic() - self._since > _CHUNK_SECONDS:
      self.flush()

  def flush(self) -> None:
    """Writes what is waiting."""
    if self._waiting:
      files.write_text(self._folder / f'chunk-{self._next:06d}.jsonl', records.dumps(self._waiting))
      self._next += 1
    self._waiting = []
    self._since = time.monotonic()
