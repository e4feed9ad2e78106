"""What is measured on drawn solutions: coverage, diversity, false positives, majority vote.

P problems, M samples a problem, in the order they were drawn. Everything is per problem where it can be, so that
`intervals` can resample problems.
"""

from __future__ import annotations

import numpy as np
from jaxtyping import Bool, Float, Int

from sweb_jax.analysis.equations import equations
from sweb_jax.records import text_key


def coverage(correct: Bool[np.ndarray, 'P M'], k: int) -> Float[np.ndarray, ' P']:
  """Chance that at least one of k samples is correct, k of the M drawn without replacement.

  The unbiased 1 - C(M-c, k) / C(M, k) with c correct samples (Chen et al., arXiv 2107.03374, eq. 1). Raises
  ValueError unless 1 <= k <= M.
  """
  return 1 - _all_missed(correct.shape[1], k)[correct.sum(axis=1)]


pass_at_k = coverage
"""The same estimator has two names: coverage on training problems, pass@k on test problems."""


def diversity(
  keys: Int[np.ndarray, 'P M'], correct: Bool[np.ndarray, 'P M'], k: int
) -> Float[np.ndarray, ' P']:
  """Expected number of different correct solutions among k of the M samples; 0 for a problem that is not solved.

  `keys` names the text of each sample (`text_key`), or its steps (`equations_key`). A text with m copies among the M
  is seen with chance 1 - C(M-m, k) / C(M, k); the sum over the different correct texts is exact.
  Raises ValueError unless 1 <= k <= M.
  """
  missed = _all_missed(correct.shape[1], k)
  rows, columns = np.nonzero(correct)
  texts, copies = np.unique(np.stack([rows, keys[rows, columns]], axis=1), axis=0, return_counts=True)
  return np.bincount(texts[:, 0], weights=1 - missed[copies], minlength=len(correct))


def equations_key(text: str) -> int:
  """A 64-bit name for the equations of `text` in their order; `text_key` where it has none."""
  return text_key('\n'.join(equations(text)) or text)


def false_positives(correct: Bool[np.ndarray, 'P M'], valid: Float[np.ndarray, 'P M']) -> Int[np.ndarray, 'P 2']:
  """Of each problem's samples with the right answer: how many rest on wrong reasoning, and how many were judged.

  `valid` is 1 where every step is right, 0 where one is wrong, NaN where nobody can tell (not judged). The false
  positive rate is the ratio of the two column sums, undefined where nothing was judged.
  """
  return np.stack([(correct & (valid == 0)).sum(axis=1), (correct & ~np.isnan(valid)).sum(axis=1)], axis=1)


def majority(
  votes: Int[np.ndarray, 'P M'], correct: Bool[np.ndarray, 'P M'], k: int
) -> Bool[np.ndarray, ' P']:
  """maj@k: whether the answer with the most votes among the first k samples is right.

  `votes` holds, for each sample, the index of the first sample with the same answer (`records.Verdict.vote`), and -1
  for a sample without an answer, which does not vote. A tie goes to the answer that came first; without any vote the
  problem is wrong. Raises ValueError unless 1 <= k <= M.
  """
  _check(correct.shape[1], k)
  return (elected(votes[:, :k]) & correct[:, :k]).any(axis=1)


def elected(votes: Int[np.ndarray, 'P k']) -> Bool[np.ndarray, 'P k']:
  """Which samples give the answer with the most votes, of equals the one that came first; `votes` as in `majority`."""
  problems, k = votes.shape
  cast = (votes >= 0) & (votes < k)
  places = votes + k * np.arange(problems)[:, None]
  counts = np.bincount(places[cast], minlength=votes.size).reshape(votes.shape)
  return cast & (votes == counts.argmax(axis=1)[:, None])


def _all_missed(samples: int, k: int) -> Float[np.ndarray, ' c']:
  """C(M-c, k) / C(M, k) for c = 0..M, as a running product of ratios: no large number appears."""
  _check(samples, k)
  left = samples - np.arange(samples)
  return np.cumprod([1.0, *np.clip((left - k) / left, 0, None)])


def _check(samples: int, k: int) -> None:
  if not 1 <= k <= samples:
    raise ValueError(f'k={k} must be between 1 and the {samples} samples a problem that were drawn')
