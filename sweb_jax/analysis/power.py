"""How many question sets it takes to decide a difference: the power of the t interval over sets."""

from __future__ import annotations

import math

from sweb_jax.analysis.intervals import LEVEL

POWER = 0.8
"""The chance with which a difference is to be decided: Cohen's convention."""
MOST_SETS = 1_000


def power(difference: float, spread: float, sets: int, alpha: float = 1 - LEVEL) -> float:
  """The chance that the two-sided t interval of level 1 - alpha over `sets` question sets leaves 0 out.

  With n sets whose differences are normal with mean d and standard deviation s, t = mean / (sd / sqrt(n)) has the
  noncentral t distribution of n - 1 degrees of freedom and noncentrality d sqrt(n) / s, and the chance is
  P(t > c) + P(t < -c), c the 1 - alpha / 2 quantile of the central one (Cohen, Statistical Power Analysis for the
  Behavioral Sciences, 2nd ed. 1988, chapter 2, one sample).

  Args:
    difference: true difference, in the unit of `spread`.
    spread: standard deviation of the sets' differences, above 0.
    sets: at least 2.
    alpha: chance of a wrong winner, were there no difference.
  """
  from scipy.special import nctdtr, stdtrit

  critical = float(stdtrit(sets - 1, 1 - alpha / 2))
  centre = abs(difference) / spread * math.sqrt(sets)
  return 1 - float(nctdtr(sets - 1, centre, critical)) + float(nctdtr(sets - 1, centre, -critical))


def sets_needed(difference: float, spread: float, alpha: float = 1 - LEVEL) -> int | None:
  """The fewest question sets, 2 or more, that decide such a difference with a chance of `POWER`.

  None where even `MOST_SETS` do not. Arguments as of `power`.
  """
  enough = (n for n in range(2, MOST_SETS + 1) if power(difference, spread, n, alpha) >= POWER)
  return next(enough, None) if difference else None
