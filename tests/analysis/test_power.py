"""The number of question sets that decide a difference, against studies that are drawn again and again."""

from __future__ import annotations

import numpy as np
import pytest

from sweb_jax.analysis.intervals import t_interval
from sweb_jax.analysis.power import POWER, power, sets_needed

STUDIES = 4_000
# Four standard errors of a share of so many studies.
TOLERANCE = 4 * (0.25 / STUDIES) ** 0.5


@pytest.mark.parametrize(('difference', 'spread', 'sets'), [(0.02, 0.03, 3), (-0.02, 0.02, 6), (0.01, 0.03, 25)])
def test_power_is_the_share_of_drawn_studies_that_decide(difference, spread, sets):
  drawn = np.random.default_rng(0).normal(difference, spread, (STUDIES, sets))
  found = [t_interval(study) for study in drawn]
  share = np.mean([interval.low > 0 or interval.high < 0 for interval in found])
  assert power(difference, spread, sets) == pytest.approx(share, abs=TOLERANCE)


def test_without_a_difference_the_power_is_the_chance_of_a_wrong_winner():
  assert power(0, 1, 5, alpha=0.01) == pytest.approx(0.01)


def test_the_sets_needed_are_the_fewest_that_have_the_power():
  # A paired difference of half its standard deviation, 5 % two-sided, power .8: 34 pairs, as G*Power gives.
  assert sets_needed(0.5, 1.0) == 34
  for alpha in (0.05, 0.01):
    n = sets_needed(0.02, 0.03, alpha)
    assert power(0.02, 0.03, n, alpha) >= POWER > power(0.02, 0.03, n - 1, alpha)
  assert sets_needed(1.0, 0.001) == 2
  assert sets_needed(0.0001, 1.0) is None and sets_needed(0.0, 1.0) is None
