"""The rows of a batch as whole arrays, against a look at one row after the other."""

from __future__ import annotations

import dataclasses

import numpy as np
import pytest

from sweb_jax.sampling.batch import Batch
from sweb_jax.sampling.chunk import Drawn
from sweb_jax.sampling.request import Completion, Request, SamplingError
from sweb_jax.sampling.slots import Row

SLOTS, STEPS, LIMIT = 6, 4, 11


@dataclasses.dataclass
class Slow:
  """A row by itself."""

  row: Row
  tokens: list[int] = dataclasses.field(default_factory=list)
  logprob: float = 0.0
  state: int = 0


def drawn_by(rows, rng: np.random.Generator) -> Drawn:
  """What a device might draw: token 1 ends a row."""
  tokens = np.full((SLOTS, STEPS), -1, np.int32)
  logprobs = np.zeros((SLOTS, STEPS), np.float32)
  for slot in np.flatnonzero(rows.left):
    for step in range(min(STEPS, rows.left[slot])):
      tokens[slot, step], logprobs[slot, step] = rng.integers(1, 9), -rng.random()
      if tokens[slot, step] == 1:
        break
  return Drawn(tokens, logprobs, rng.integers(0, 5, SLOTS).astype(np.int32), (tokens == 1).any(1))


def test_rows_and_completions_are_those_of_a_look_at_each_row():
  rng = np.random.default_rng(0)
  batch, live = Batch(SLOTS, 12, STEPS), {}
  waiting = [Request(f'p{i // 3}', i % 3, (2, *range(4, 5 + i % 5)), LIMIT - i % 4) for i in range(40)]
  finished = 0
  while waiting or live:
    for slot in [s for s in range(SLOTS) if s not in live and rng.random() < 0.8][: len(waiting)]:
      r = waiting.pop()
      live[slot] = Slow(Row(r, int(rng.integers(3)), r.limit))
      batch.begin(slot, live[slot].row)
    rows = batch.rows()
    for slot in range(SLOTS):
      told = [int(x[slot]) for x in rows[1:]]
      if slot not in live:
        assert told == [0] * 7 and not rows.problems[slot].any()
        continue
      one = live[slot]
      r, n = one.row.request, len(one.tokens)
      last = one.tokens[-1] if one.tokens else r.prompt[-1]
      assert told == [r.index, one.row.place, len(r.prompt) - 1, n, last, one.row.limit - n, one.state]
    drawn = drawn_by(rows, rng)
    expected = []
    for slot, one in live.items():
      count = int((drawn.tokens[slot] >= 0).sum())
      one.tokens += drawn.tokens[slot, :count].tolist()
      one.logprob += sum(map(float, drawn.logprobs[slot, :count]))
      one.state = int(drawn.state[slot])
      if drawn.ended[slot] or len(one.tokens) == one.row.limit:
        expected.append(slot)
    assert batch.take(drawn) == sorted(expected)
    for slot in expected:
      one = live.pop(slot)
      r, finish = one.row.request, 'stop' if drawn.ended[slot] else 'length'
      found = batch.completion(slot, r)
      slow = Completion(r.problem_id, r.index, tuple(one.tokens), finish, found.logprob)
      assert found == slow
      assert found.logprob == pytest.approx(one.logprob, rel=1e-12)
      finished += 1
  assert finished == 40


def test_logits_that_are_not_numbers_name_the_row_and_idle_rows_are_not_looked_at():
  batch = Batch(2, 4, 2)
  batch.begin(1, Row(Request('p', 3, (2, 5)), 0, 4))
  tokens = np.array([[-1, -1], [7, 8]], np.int32)
  nothing = np.zeros(2, np.int32), np.zeros(2, bool)
  assert batch.take(Drawn(tokens, np.array([[np.nan, 0], [-1, -1]], np.float32), *nothing)) == []
  with pytest.raises(SamplingError, match=r"problem 'p', sample 3: the model gave logits that are not numbers"):
    batch.take(Drawn(tokens, np.array([[0, 0], [-1, np.nan]], np.float32), *nothing))
