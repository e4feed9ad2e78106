from __future__ import annotations

import itertools
import time

import numpy as np
import pytest

from sweb_jax.analysis import equations as equations_lib
from sweb_jax.analysis import metrics
from sweb_jax.analysis.equations import equations
from sweb_jax.records import text_key


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


@pytest.mark.parametrize('k', [1, 3, 10, 200])
def test_coverage_is_the_published_estimator(k):
  """Chen et al. 2021, section 2.1, as the running product that they publish; n = 200 samples, as there."""
  for c in (0, 1, 7, 199, 200):
    product = 0.0 if 200 - c < k else np.prod(1 - k / np.arange(200 - c + 1, 201))
    correct = np.arange(200)[None] < c
    np.testing.assert_allclose(metrics.coverage(correct, k), [1 - product], atol=1e-12)


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
  assert text_key('3 + 4 = 7\n\n#### 7 ') == text_key('3 + 4  = 7 #### 7')
  assert text_key('3 + 4 = 7') != text_key('4 + 3 = 7')


@pytest.mark.parametrize(
  ('text', 'found'),
  [
    ('3 + 4 = 7 ; 7 - 2 = 5 #### 5', ['3+4=7', '7-2=5']),
    ('He sold 48/2 = <<48/2=24>>24 clips, 48+24=<<48+24=72>>72 in all.', ['48/2=24', '48+24=72']),
    ('5 apples + 3 apples = 8 apples', ['5+3=8']),
    ('2 + 3 + 4 = 9', ['2+3+4=9']),
    ('3 + 4 = 7 + 2 = 9', ['3+4=7', '7+2=9']),  # The value of one begins the next.
    ('$1,200.50 x 2 = $2,401.00', ['1200.5*2=2401']),
    (r'12 × .5 = 6.0, 5\% * \$20 = \$1, 3 \times 4 = 12', ['12*0.5=6', '5*20=1', '3*4=12']),
    ('2 x (3 + 1) = 8', ['2*(3+1)=8']),
    ('-3 + 5 = 2 and 5 - -2 = 7', ['-3+5=2', '5--2=7']),
    ('She has 5 apples. 3 + 4 = 7. Then', ['3+4=7']),
    ('x = 3, 4 == 4, 3 + 4 =, a + 2 = 5, 7 = 3 + 4', []),
  ],
)
def test_equations_in_one_form(text, found):
  assert list(equations(text)) == found


def test_solutions_of_the_same_equations_have_the_same_key():
  key = metrics.equations_key
  assert key('First 3+4 = 7, so 7*2=14.') == key('3 + 4 = 7.0; then $7 x 2 = $14')
  assert key('3 + 4 = 7, 7 * 2 = 14') != key('7 * 2 = 14, 3 + 4 = 7')
  assert key('3 + 4 = 7') != key('4 + 3 = 7')
  # Without equations the text stands for itself.
  assert key('It is  7') == text_key('It is 7') != key('So 7')


def test_equations_of_a_hostile_text_take_linear_time():
  begun = time.monotonic()
  for piece in ('1 + ', '( ', '1 a ', '<<', '1x', '-', '1+1='):
    metrics.equations_key(piece * 20_000)
  assert time.monotonic() - begun < 10  # Quadratic time would be hours.


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


def test_only_the_end_of_a_side_is_looked_at_and_nothing_that_a_whole_side_has_is_missed(monkeypatch):
  rng = np.random.default_rng(0)
  characters = list('0123456789 .,==++-*/()xX_$%\\\nab²½×{}:')
  texts = [''.join(rng.choice(characters, rng.integers(60))) for _ in range(5000)]
  texts += [r'$x_1 = 2, -3 + 4 = 1$', '1.2.3+4=5', 'a, -(-2) - 1 = 1', r'\frac{3}{4} + 1 = 2', '1,000 + 20,5 = 3']
  found = [equations(text) for text in texts]
  monkeypatch.setattr(equations_lib, '_end', lambda side: side)
  assert found == [equations(text) for text in texts]
  assert sum(map(bool, found)) > 50
