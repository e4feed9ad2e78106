from __future__ import annotations

import itertools

import numpy as np
import pytest

from sweb_jax.analysis import metrics


def subsets(m: int, k: int):
  return list(itertools.combinations(range(m), k))


def random_draws(seed: int, problems: int = 6, m: int = 6):
  rng = np.random.default_rng(seed)
  return rng.random((problems, m)) < 0.5, rng.integers(0, 3, (problems, m))


@pytest.mark.parametrize('k', range(1, 7))
def test_coverage_is_the_mean_over_all_subsets(k):
  correct, _ = random_draws(0)
  expected = np.mean([correct[:, list(s)].any(axis=1) for s in subsets(6, k)], axis=0)
  np.testing.assert_allclose(metrics.coverage(correct, k), expected, atol=1e-12)


@pytest.mark.parametrize('k', range(1, 7))
def test_diversity_is_the_mean_number_of_correct_texts_over_all_subsets(k):
  correct, keys = random_draws(1)
  expected = [
    np.mean([len({keys[p, i] for i in s if correct[p, i]}) for s in subsets(6, k)]) for p in range(len(keys))
  ]
  np.testing.assert_allclose(metrics.diversity(keys, correct, k), expected, atol=1e-12)


def test_coverage_by_hand():
  correct = np.array([[1, 0, 0, 0], [1, 1, 0, 0], [0, 0, 0, 0], [1, 1, 1, 1]], bool)
  # k = 2 of 4: 1 - C(3,2)/C(4,2) = 1/2; 1 - C(2,2)/C(4,2) = 5/6.
  np.testing.assert_allclose(metrics.coverage(correct, 2), [1 / 2, 5 / 6, 0, 1], atol=1e-15)
  np.testing.assert_allclose(metrics.pass_at_k(correct, 1), correct.mean(axis=1), atol=1e-15)


def test_coverage_of_many_samples_stays_finite():
  correct = np.zeros((1, 20_000), bool)
  correct[0, 0] = True
  np.testing.assert_allclose(metrics.coverage(correct, 10_000), [0.5], rtol=1e-9)


@pytest.mark.parametrize('k', [0, 4])
def test_more_samples_than_drawn_are_refused(k):
  correct = np.ones((2, 3), bool)
  for call in (
    lambda: metrics.coverage(correct, k),
    lambda: metrics.diversity(correct.astype(int), correct, k),
    lambda: metrics.majority(np.zeros((2, 3), int), correct, k),
  ):
    with pytest.raises(ValueError, match='3 samples a problem'):
      call()


def test_diversity_without_any_correct_sample_is_zero():
  np.testing.assert_array_equal(metrics.diversity(np.ones((2, 3), int), np.zeros((2, 3), bool), 2), [0, 0])


def test_texts_that_differ_in_white_space_are_the_same():
  assert metrics.text_key('3 + 4 = 7\n\n#### 7 ') == metrics.text_key('3 + 4  = 7 #### 7')
  assert metrics.text_key('3 + 4 = 7') != metrics.text_key('4 + 3 = 7')


def test_false_positives_count_judged_samples_with_the_right_answer_only():
  correct = np.array([[1, 1, 1, 0], [0, 0, 0, 0]], bool)
  valid = np.array([[1, 0, np.nan, 0], [0, 0, np.nan, 1]])
  np.testing.assert_array_equal(metrics.false_positives(correct, valid), [[1, 2], [0, 0]])


@pytest.mark.parametrize(
  ('votes', 'correct', 'k', 'right'),
  [
    ([0, 1, 0], [1, 0, 1], 3, True),
    ([0, 1, 1], [0, 1, 1], 1, False),
    ([0, 1, 1, 0], [0, 1, 1, 0], 4, False),  # A tie: the answer of sample 0 came first.
    ([0, 1, 1, 0], [1, 0, 0, 1], 4, True),
    ([0, 1, 1, 0, 1], [0, 1, 1, 0, 1], 5, True),
    ([-1, -1, 2], [0, 0, 1], 3, True),  # Who has no answer does not vote.
    ([-1, -1, 2], [0, 0, 1], 2, False),
    ([0, 0], [0, 1], 2, True),  # The first was cut, so it is wrong itself; the answer is right.
  ],
)
def test_majority_vote(votes, correct, k, right):
  other = [-1] * len(votes), [0] * len(votes)  # A second problem, which nobody answered.
  found = metrics.majority(np.array([votes, other[0]]), np.array([correct, other[1]], bool), k)
  assert found.tolist() == [right, False]


def test_majority_vote_agrees_with_a_count_by_hand():
  rng = np.random.default_rng(0)
  for _ in range(200):
    answers = rng.integers(0, 4, 6)
    votes = [-1 if a == 3 else int(np.argmax(answers == a)) for a in answers]
    correct = answers == 1
    cast = [v for v in votes[:5] if v >= 0]
    winner = max(cast, key=lambda v: (cast.count(v), -v), default=-1)
    expected = winner >= 0 and bool(answers[winner] == 1)
    assert metrics.majority(np.array([votes]), correct[None], 5).tolist() == [expected]
