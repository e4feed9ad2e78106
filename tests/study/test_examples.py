"""One way to select examples for every kind of arm."""

from __future__ import annotations

import collections
import json

import pytest

from sweb_jax import layout, records
from sweb_jax.records import Example


def kept(root, arm: str) -> collections.Counter[str]:
  rows = records.read(Example, root / layout.examples(0, arm) / layout.EXAMPLES)
  return collections.Counter(e.problem_id for e in rows)


@pytest.mark.slow
def test_the_arm_of_a_policy_is_balanced_as_its_partner_is(runs, tmp_path):
  root = tmp_path / 'workdir'
  config = runs.tiny(
    budgets={'high': {'se': 10}}, data__balance=True, data__max_per_problem=0, task__train=24,
    policies={'until': {'kind': 'by_difficulty', 'generators': ('wc',)}},
  )  # fmt: skip
  runs(root, config, ('plan', 'sample', 'grade'))
  for arm in ('wc_high', 'until_high'):
    counts = json.loads((root / layout.examples(0, arm) / layout.COUNTS).read_text())
    per_problem = sorted(kept(root, arm).values())
    assert counts['over the balance'] > 0
    assert per_problem[-1] == per_problem[len(per_problem) // 2]


@pytest.mark.slow
def test_gold_is_mixed_in_and_a_fixed_number_drawn_for_every_kind_of_arm(runs, tmp_path):
  root = tmp_path / 'workdir'
  config = runs.tiny(
    data__mix_gold=True, train__unique_examples=10, gold=True,
    policies={'until': {'kind': 'until_solved', 'generators': ('wc',)}},
  )  # fmt: skip
  runs(root, config, ('plan', 'sample', 'grade'))
  for arm in ('wc_low', 'se_low', 'until_low'):
    counts = json.loads((root / layout.examples(0, arm) / layout.COUNTS).read_text())
    assert counts['gold_added'] == 12
    assert sum(kept(root, arm).values()) == min(10, counts['kept'] + 12)
  assert sum(kept(root, 'gold').values()) == 12
