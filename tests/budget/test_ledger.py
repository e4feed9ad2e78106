"""Every token drawn is charged; a smaller arm is charged its prefix."""

import random

import pytest

from sweb_jax import budget
from sweb_jax.records import Sample


def sample(problem, index, length, finish='stop'):
  return Sample(problem, index, 'text', tuple(range(length)), finish, -1.0)


ROWS = [
  sample('a', 0, 5),
  sample('a', 1, 7, 'length'),
  sample('a', 2, 1),
  sample('b', 0, 2),
  sample('b', 1, 3),
  sample('b', 2, 4),
]


def test_all_tokens_are_charged_those_of_cut_samples_too():
  assert budget.tokens_charged(ROWS) == 5 + 7 + 1 + 2 + 3 + 4
  assert budget.tokens_charged([]) == 0


@pytest.mark.parametrize(
  ('samples', 'charge'), [(1, budget.Charge(2, 7)), (2, budget.Charge(4, 17)), (3, budget.Charge(6, 22))]
)
def test_an_arm_is_charged_its_prefix_in_any_order(samples, charge):
  rows = ROWS.copy()
  for seed in range(3):
    random.Random(seed).shuffle(rows)
    assert budget.charge(rows, samples) == charge


def test_a_sample_that_stands_twice_is_an_error():
  with pytest.raises(budget.BudgetError, match="problem 'a', sample 1 stands twice"):
    budget.charge([*ROWS, sample('a', 1, 7)], 2)


@pytest.mark.parametrize('missing', range(6))
def test_a_missing_sample_is_an_error(missing):
  rows = ROWS[:missing] + ROWS[missing + 1 :]
  with pytest.raises(budget.BudgetError, match=f"problem '{ROWS[missing].problem_id}' has 2 of 3 samples"):
    budget.charge(rows, 3)


def test_an_arm_without_samples_is_an_error():
  with pytest.raises(budget.BudgetError, match='at least 1'):
    budget.charge(ROWS, 0)
