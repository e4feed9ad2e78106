"""What the host knows of the rows that a device draws, as whole arrays: a chunk costs few operations for all slots.

Letters in shapes: S slots, T tokens of the longest completion.
"""

from __future__ import annotations

import functools
import hashlib

import numpy as np

from sweb_jax.sampling.chunk import Drawn, Rows
from sweb_jax.sampling.request import Completion, Request, SamplingError
from sweb_jax.sampling.slots import Row


class Batch:
  """The rows of S slots, and what each has drawn so far.

  Args:
    slots: S.
    columns: T, whole chunks.
    steps: of a chunk.
  """

  def __init__(self, slots: int, columns: int, steps: int):
    self._rows = Rows(np.zeros((slots, 2), np.uint32), *(np.zeros(slots, np.int32) for _ in range(7)))
    self._tokens = np.zeros((slots, columns), np.int32)
    self._logprobs = np.zeros(slots)
    self._stopped = np.zeros(slots, bool)
    self._names: list[tuple[str, int] | None] = [None] * slots
    self._each, self._chunk = np.arange(slots), np.arange(steps)

  def begin(self, slot: int, row: Row) -> None:
    """Puts a request into a free slot."""
    to, r = self._rows, row.request
    to.problems[slot], to.indices[slot] = _problem_hash(r.problem_id), r.index
    to.place[slot], to.prompt[slot], to.length[slot] = row.place, len(r.prompt) - 1, 0
    to.last[slot], to.left[slot], to.state[slot] = r.prompt[-1], row.limit, 0
    self._logprobs[slot], self._names[slot] = 0.0, (r.problem_id, r.index)

  def rows(self) -> Rows:
    """As the next chunk is told them: copies, as a device may still read them when these are written."""
    return Rows(*(x.copy() for x in self._rows))

  def take(self, drawn: Drawn) -> list[int]:
    """Notes what a chunk drew; returns the slots whose row has ended.

    Raises SamplingError where the model gave logits that are not numbers.
    """
    rows, live = self._rows, self._rows.left > 0
    count = np.where(live, (drawn.tokens >= 0).sum(1), 0)
    self._tokens[self._each[live, None], rows.length[live, None] + self._chunk] = drawn.tokens[live]
    self._logprobs += np.where(live, drawn.logprobs.sum(1, dtype=np.float64), 0.0)
    np.copyto(rows.last, drawn.tokens[self._each, count - 1], where=live)
    np.copyto(rows.state, drawn.state, where=live)
    rows.length[:] += count
    rows.left[:] -= count
    if not np.isfinite(self._logprobs[live]).all():
      problem_id, index = self._names[np.flatnonzero(live & ~np.isfinite(self._logprobs))[0]]
      raise SamplingError(
        f'problem {problem_id!r}, sample {index}: the model gave logits that are not numbers; '
        'the weights are damaged or training diverged'
      )
    self._stopped = live & drawn.ended
    ended = live & (drawn.ended | (rows.left == 0))
    rows.left[ended] = 0
    return np.flatnonzero(ended).tolist()

  def completion(self, slot: int, r: Request) -> Completion:
    """What a row that has just ended drew; its slot is idle then."""
    tokens = tuple(self._tokens[slot, : self._rows.length[slot]].tolist())
    finish = 'stop' if self._stopped[slot] else 'length'
    for x in self._rows:
      x[slot] = 0
    return Completion(r.problem_id, r.index, tokens, finish, float(self._logprobs[slot]))


@functools.cache
def _problem_hash(problem_id: str) -> tuple[int, int]:
  digest = hashlib.sha256(problem_id.encode()).digest()
  return int.from_bytes(digest[:4], 'little'), int.from_bytes(digest[4:8], 'little')
