"""95 % intervals: for a rate, for a paired difference, and over question sets.

Every figure of a report is a mean over problems or a ratio of two sums over problems, so a figure's data are `Terms`:
one array a question set, and in it a numerator and a denominator for each problem (1 for a plain mean). With two or
more sets, the sets are the unit of replication and a t interval over them decides; one set can only speak for its
own questions, by the bootstrap over its problems or, for a share of single draws, Wilson's interval.
"""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Callable, Sequence

import numpy as np
from jaxtyping import Float

LEVEL = 0.95
RESAMPLES = 2_000
UNDECIDED = 'undecided at 95 %'

Terms = Sequence[Float[np.ndarray, 'P 2']]
"""For each question set, the numerator and denominator of each of its problems."""


@dataclasses.dataclass(frozen=True)
class Interval:
  low: float
  high: float


@dataclasses.dataclass(frozen=True)
class Estimate:
  """One figure with its 95 % interval."""

  value: float
  """Mean over the question sets of the set's ratio."""
  interval: Interval
  n: int
  """Sum of the denominators over all sets: problems for a mean over problems, samples for a share of samples."""


@dataclasses.dataclass(frozen=True)
class Difference:
  """Side A minus side B, paired by problem."""

  a: float
  b: float
  value: float
  relative: float | None
  """`value / b`; None where b is 0."""
  over_sets: Interval | None
  """t interval over the set differences; None for one set."""
  within: Interval
  """Paired bootstrap over the problems of each set; the sets themselves are held fixed."""

  @property
  def deciding(self) -> Interval:
    """The interval a verdict rests on: over sets, or within the set where there is one set (or sets do not vary)."""
    return self.over_sets if self.over_sets and self.over_sets.low < self.over_sets.high else self.within


def mean_terms(values: Float[np.ndarray, ' P']) -> Float[np.ndarray, 'P 2']:
  """Terms of a plain mean over problems."""
  values = np.asarray(values, float)
  return np.stack([values, np.ones_like(values)], axis=1)


def wilson(successes: float, n: float) -> Interval:
  """Wilson's score interval for a rate of `successes` in `n` independent trials (Wilson 1927); [0, 1] for n = 0."""
  if n == 0:
    return Interval(0.0, 1.0)
  z2 = 1.959963984540054**2
  rate = successes / n
  centre = (rate + z2 / (2 * n)) / (1 + z2 / n)
  half = math.sqrt(z2 * (rate * (1 - rate) / n + z2 / (4 * n * n))) / (1 + z2 / n)
  # At 0 and at n the end is exactly the rate; rounding must not leave it out.
  return Interval(min(max(centre - half, 0.0), rate), max(min(centre + half, 1.0), rate))


def t_interval(values: Sequence[float]) -> Interval:
  """Student's t interval for the mean of `values`, S - 1 degrees of freedom. Raises ValueError for fewer than 2."""
  from scipy.special import stdtrit

  if len(values) < 2:
    raise ValueError(f'a t interval needs at least 2 values, found {len(values)}')
  mean = float(np.mean(values))
  spread = float(np.std(values, ddof=1)) if _vary(values) else 0.0
  half = float(stdtrit(len(values) - 1, (1 + LEVEL) / 2)) * spread / math.sqrt(len(values))
  return Interval(mean - half, mean + half)


def bootstrap(
  sets: Sequence[Float[np.ndarray, 'P C']],
  statistic: Callable[[Float[np.ndarray, 'n C']], Float[np.ndarray, ' n']],
  n: int = RESAMPLES,
  seed: int = 0,
) -> Interval:
  """Percentile bootstrap of the mean over sets of `statistic(column sums)`.

  Problems are resampled within their set. Equal problems are drawn together: P draws of a problem are one
  multinomial draw over the different rows, which is the same distribution and much faster.
  """
  rng = np.random.default_rng(seed)
  total = np.zeros(n)
  for rows in sets:
    distinct, counts = np.unique(rows, axis=0, return_counts=True)
    total += statistic(rng.multinomial(len(rows), counts / len(rows), size=n) @ distinct)
  # A resample without a single unit of the denominator says nothing.
  low, high = np.nanquantile(total / len(sets), [(1 - LEVEL) / 2, (1 + LEVEL) / 2])
  return Interval(float(low), float(high))


def paired_bootstrap(
  differences: Sequence[Float[np.ndarray, ' P']], n: int = RESAMPLES, seed: int = 0
) -> Interval:
  """Bootstrap interval for the mean over sets of the mean difference; one array of paired differences a set."""
  return bootstrap([mean_terms(d) for d in differences], _ratio, n, seed)


def estimate(terms: Terms, seed: int = 0) -> Estimate | None:
  """The figure and its interval; None where a set has nothing to count.

  The interval is over sets where there are two or more that differ, else within sets. It is cut at 0 and at 1 where
  no problem's terms could go beyond.
  """
  sums = [t.sum(axis=0) for t in terms]
  if not sums or any(s[1] == 0 for s in sums):
    return None
  ratios = [float(s[0] / s[1]) for s in sums]
  n = round(float(sum(s[1] for s in sums)))
  if _vary(ratios):
    interval = t_interval(ratios)
    low = max(interval.low, 0.0) if all((t[:, 0] >= 0).all() for t in terms) else interval.low
    high = min(interval.high, 1.0) if all((t[:, 0] <= t[:, 1]).all() for t in terms) else interval.high
    interval = Interval(low, high)
  elif all(np.isin(t, (0, 1)).all() for t in terms):
    interval = wilson(sum(s[0] for s in sums), n)
  else:
    interval = bootstrap(terms, _ratio, seed=seed)
  return Estimate(float(np.mean(ratios)), interval, n)


def compare(a: Terms, b: Terms, seed: int = 0) -> Difference | None:
  """Side A minus side B on the same problems of the same sets; None where a set of either has nothing to count."""
  sums = [(x.sum(axis=0), y.sum(axis=0)) for x, y in zip(a, b, strict=True)]
  if not sums or any(x[1] == 0 or y[1] == 0 for x, y in sums):
    return None
  pairs = [(float(x[0] / x[1]), float(y[0] / y[1])) for x, y in sums]
  value_a, value_b = (float(np.mean(side)) for side in zip(*pairs, strict=True))
  return Difference(
    a=value_a,
    b=value_b,
    value=value_a - value_b,
    relative=(value_a - value_b) / value_b if value_b else None,
    over_sets=t_interval([x - y for x, y in pairs]) if len(pairs) > 1 else None,
    within=_within(a, b, seed),
  )


def _within(a: Terms, b: Terms, seed: int) -> Interval:
  """The bootstrap over problems; where right and wrong agree on every one of n, what that many can rule out.

  Resamples of agreement are agreement, and would claim certainty. But if the sides differ on a share d of all problems,
  n agree with probability (1 - d)^n, so at 95 % d is at most 1 - 0.05^(1/n).
  """
  pairs = list(zip(a, b, strict=True))
  if all(np.array_equal(x, y) and np.isin(x, (0, 1)).all() for x, y in pairs):
    most = 1 - (1 - LEVEL) ** (1 / sum(len(x) for x, _ in pairs))
    return Interval(-most, most)
  joined = [np.concatenate(pair, axis=1) for pair in pairs]
  return bootstrap(joined, lambda s: _ratio(s[:, :2]) - _ratio(s[:, 2:]), seed=seed)


def verdict(interval: Interval, a: str, b: str) -> str:
  """Name of the side that is ahead, or `UNDECIDED` where the interval of A minus B holds 0."""
  if interval.low > 0:
    return a
  return b if interval.high < 0 else UNDECIDED


def _vary(values: Sequence[float]) -> bool:
  """Whether values differ by more than rounding."""
  return max(values) - min(values) > 1e-12


def _ratio(sums: Float[np.ndarray, 'n 2']) -> Float[np.ndarray, ' n']:
  with np.errstate(invalid='ignore', divide='ignore'):
    return sums[:, 0] / np.where(sums[:, 1] == 0, np.nan, sums[:, 1])
