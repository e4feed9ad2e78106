from __future__ import annotations

import itertools

import numpy as np
import pytest

from sweb_jax.analysis import intervals
from sweb_jax.analysis.intervals import Interval, mean_terms


@pytest.mark.parametrize(
  ('successes', 'n', 'low', 'high'),
  # Newcombe (1998), Statistics in Medicine 17, table I, method 3.
  [(81, 263, 0.2553, 0.3662), (15, 148, 0.0624, 0.1605), (0, 20, 0.0, 0.1611), (1, 29, 0.0061, 0.1718)],
)
def test_wilson_gives_the_published_numbers(successes, n, low, high):
  interval = intervals.wilson(successes, n)
  assert (interval.low, interval.high) == pytest.approx((low, high), abs=5e-5)


def test_wilson_knows_nothing_from_no_trial_and_holds_the_rate_at_the_ends():
  assert intervals.wilson(0, 0) == Interval(0.0, 1.0)
  assert intervals.wilson(0, 7).low == 0
  assert intervals.wilson(7, 7).high == 1


def test_t_interval_by_hand():
  # Mean 2, standard deviation 1, t(2, .975) = 4.302653.
  interval = intervals.t_interval([1.0, 2.0, 3.0])
  half = 4.302653 / np.sqrt(3)
  assert (interval.low, interval.high) == pytest.approx((2 - half, 2 + half), abs=1e-6)
  # One degree of freedom: t = 12.7062, standard error half the distance.
  interval = intervals.t_interval([0.0, 0.2])
  assert (interval.low, interval.high) == pytest.approx((0.1 - 1.27062, 0.1 + 1.27062), abs=1e-5)


def test_t_interval_of_one_value_is_refused():
  with pytest.raises(ValueError, match='at least 2'):
    intervals.t_interval([0.3])


def test_bootstrap_has_the_distribution_of_resampled_problems():
  values = np.array([0.0, 1.0, 1.0, 3.0])
  means = np.sort([np.mean(draw) for draw in itertools.product(values, repeat=4)])
  low, high = np.quantile(means, [0.025, 0.975])
  interval = intervals.paired_bootstrap([values], n=100_000)
  # The exact quantiles sit on a grid of 1/4.
  assert (interval.low, interval.high) == pytest.approx((low, high), abs=1e-9)


def test_bootstrap_resamples_within_each_set():
  # Every set is constant: no problem that could be drawn changes its mean, however far the sets are apart.
  interval = intervals.paired_bootstrap([np.full(5, 0.25), np.full(3, 0.75)])
  assert (interval.low, interval.high) == pytest.approx((0.5, 0.5))


def test_bootstrap_is_keyed():
  values = np.random.default_rng(0).normal(size=50)
  assert intervals.paired_bootstrap([values], seed=1) == intervals.paired_bootstrap([values], seed=1)
  assert intervals.paired_bootstrap([values], seed=1) != intervals.paired_bootstrap([values], seed=2)


def test_the_interval_of_one_set_covers_as_often_as_it_says():
  rng = np.random.default_rng(0)
  hits = 0
  for _ in range(300):
    interval = intervals.paired_bootstrap([rng.choice([-1, 0, 1], p=[0.2, 0.5, 0.3], size=200)], n=500)
    hits += interval.low <= 0.1 <= interval.high
  assert 0.90 <= hits / 300 <= 0.99


def test_one_set_of_single_draws_gets_wilsons_interval():
  estimate = intervals.estimate([mean_terms(np.array([1, 0, 0, 1]))])
  assert (estimate.value, estimate.n, estimate.interval) == (0.5, 4, intervals.wilson(2, 4))


def test_one_set_of_fractions_gets_the_bootstrap():
  values = np.array([0.2, 0.4, 0.9, 0.1])
  estimate = intervals.estimate([mean_terms(values)])
  assert estimate.interval == intervals.paired_bootstrap([values])


def test_sets_are_the_unit_and_a_rate_stays_within_its_range():
  terms = [mean_terms(np.array([1, 0])), mean_terms(np.array([1, 1]))]
  estimate = intervals.estimate(terms)
  assert (estimate.value, estimate.n) == (0.75, 4)
  assert estimate.interval == Interval(0.0, 1.0)  # t: 0.75 ± 3.18.
  wide = intervals.estimate([mean_terms(np.array([1, 0])), mean_terms(np.array([2, 3]))])
  assert (wide.interval.low, wide.interval.high) == pytest.approx((0, 1.5 + 12.7062), abs=1e-4)


def test_sets_that_agree_exactly_do_not_claim_certainty():
  zero = [mean_terms(np.zeros(10)), mean_terms(np.zeros(10))]
  assert intervals.estimate(zero).interval == intervals.wilson(0, 20)
  a, b = [mean_terms(np.array([1, 0, 0, 0]))] * 2, [mean_terms(np.array([0, 0, 0, 0]))] * 2
  difference = intervals.compare(a, b)
  assert difference.over_sets.low == difference.over_sets.high == 0.25
  assert difference.deciding == difference.within
  assert intervals.verdict(difference.deciding, 'A', 'B') == intervals.UNDECIDED


def test_a_ratio_weighs_problems_by_their_denominator():
  terms = [np.array([[1.0, 1.0], [1.0, 4.0], [0.0, 0.0]])]
  estimate = intervals.estimate(terms)
  assert (estimate.value, estimate.n) == (0.4, 5)
  assert 0.25 <= estimate.interval.low <= 0.4 <= estimate.interval.high <= 1


def test_nothing_to_count_gives_no_figure():
  empty, some = [np.zeros((3, 2))], [mean_terms(np.ones(3))]
  assert intervals.estimate(empty) is None
  assert intervals.compare(some, empty) is None
  assert intervals.compare(empty, some) is None


def test_compare_is_paired_and_counts_every_set_the_same():
  a = [mean_terms(np.array([1, 1, 0, 0])), mean_terms(np.array([1, 0]))]
  b = [mean_terms(np.array([1, 0, 0, 0])), mean_terms(np.array([0, 0]))]
  difference = intervals.compare(a, b)
  assert (difference.a, difference.b, difference.value, difference.relative) == (0.5, 0.125, 0.375, 3.0)
  assert difference.over_sets == intervals.t_interval([0.25, 0.5])
  assert difference.deciding == difference.over_sets
  paired = [x[:, 0] - y[:, 0] for x, y in zip(a, b, strict=True)]
  within = intervals.paired_bootstrap(paired)
  assert (difference.within.low, difference.within.high) == pytest.approx((within.low, within.high), abs=0.13)


def test_sides_that_agree_on_every_problem_are_not_certain_to_be_equal():
  """Were they to differ on one problem in 20, ten problems without a difference would be seen in 60 % of cases."""
  terms = [mean_terms(np.array([1, 0, 1, 1, 0] * 2))]
  difference = intervals.compare(terms, terms)
  assert difference.value == 0
  assert (1 - difference.within.high) ** 10 == pytest.approx(0.05)
  assert difference.within.low == -difference.within.high
  assert difference.over_sets is None
  assert intervals.verdict(difference.deciding, 'A', 'B') == intervals.UNDECIDED


def test_equal_fractions_differ_by_exactly_nothing_in_the_bootstrap():
  terms = [mean_terms(np.array([1, 0.5, 1, 1, 0]))]
  difference = intervals.compare(terms, terms)
  assert difference.within == Interval(0.0, 0.0)
  assert difference.over_sets is None
  assert intervals.verdict(difference.deciding, 'A', 'B') == intervals.UNDECIDED


@pytest.mark.parametrize(
  ('interval', 'name'),
  [(Interval(0.01, 0.2), 'WC'), (Interval(-0.2, -0.01), 'SE'), (Interval(-0.1, 0.1), 'undecided at 95 %')],
)
def test_verdict_names_the_side_ahead(interval, name):
  assert intervals.verdict(interval, 'WC', 'SE') == name
