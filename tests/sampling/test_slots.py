"""Which request runs where."""

from __future__ import annotations

import collections
import random

import pytest

from sweb_jax.sampling.request import Request
from sweb_jax.sampling.slots import Slots, share


def requests(problems: int, samples: int) -> list[Request]:
  return [Request(f'p{i}', j, (2, *range(i + 1))) for i in range(problems) for j in range(samples)]


def play(slots: Slots, lengths, *, places: int, block: int) -> tuple[list[tuple[str, int]], int, collections.Counter]:
  """Runs to the end, each row for as many rounds as `lengths` says. Returns what ran, idle slots, prompts computed.

  Checks on the way that a row's place holds its prompt.
  """
  done, idle, computed = [], 0, collections.Counter()
  held: dict[int, tuple[int, ...]] = {}
  left: dict[int, int] = {}
  for _ in range(10_000):
    for prompt, place in slots.assign():
      in_use = {slot // block * places + row.place for slot, row in enumerate(slots.rows) if row and slot in left}
      assert place not in in_use
      held[place] = prompt
      computed[prompt] += 1
    if not slots.live:
      return done, idle, computed
    for slot, row in enumerate(slots.rows):
      if row is None:
        idle += 1
        continue
      assert held[slot // block * places + row.place] == row.request.prompt
      left.setdefault(slot, lengths(row.request))
      left[slot] -= 1
      if not left[slot]:
        done.append((row.request.problem_id, row.request.index))
        del left[slot]
        slots.release(slot)
  raise AssertionError('does not end')


@pytest.mark.parametrize(
  ('slots', 'block', 'places', 'at_least'), [(8, 1, 1, 1), (8, 1, 1, 3), (8, 4, 3, 1), (8, 8, 4, 1), (16, 4, 1, 2)]
)
def test_every_request_runs_once_with_its_own_prompt_at_hand(slots, block, places, at_least):
  asked = requests(9, 5)
  draw = random.Random(1)
  lengths = {(r.problem_id, r.index): draw.randint(1, 9) for r in asked}
  s = Slots(asked, slots=slots, block=block, places=places, limit=9, at_least=at_least)
  done, _, computed = play(s, lambda r: lengths[r.problem_id, r.index], places=places, block=block)
  assert sorted(done) == sorted((r.problem_id, r.index) for r in asked)
  assert set(computed) == {r.prompt for r in asked}


def test_no_slot_waits_for_a_straggler():
  """One row of each problem runs 6 times as long as the others; the slots beside it go on with other problems."""
  idle = {}
  for places in (1, 4):
    s = Slots(requests(60, 8), slots=16, block=8, places=places, limit=6, at_least=1)
    _, idle[places], computed = play(s, lambda r: 6 if r.index == 0 else 1, places=places, block=8)
    assert sum(computed.values()) <= 62  # A prompt is computed once, but for what was spread at the end.
  busy = 60 * (6 + 7)
  assert idle[4] < 0.15 * busy < 2 * busy < idle[1]


def test_the_last_problem_is_spread_over_idle_blocks():
  s = Slots(requests(1, 32), slots=16, block=4, places=2, limit=5, at_least=1)
  done, idle, computed = play(s, lambda r: 5, places=2, block=4)
  assert (len(done), idle) == (32, 0)
  assert sum(computed.values()) <= 8


def test_the_longest_expected_come_first():
  asked = [Request('short', 0, (2, 3), limit=2), Request('long', 0, (2, 4), limit=9), Request('open', 0, (2, 3, 4))]
  s = Slots(asked, slots=1, block=1, places=1, limit=9, at_least=1)
  done, *_ = play(s, lambda r: 1, places=1, block=1)
  assert [p for p, _ in done] == ['open', 'long', 'short']


def test_long_prompts_are_computed_few_at_once_where_there_is_a_limit():
  """Of eight parts of the devices, each with prompts of 768 tokens."""
  at_once = [share(9999, 1, 512, ways=8, prompt_length=n, tokens=2048)[2] for n in (64, 768, 4096)]
  assert at_once == [64, 16, 8]
  assert share(9999, 1, 512, ways=8, prompt_length=768)[2] == 64
