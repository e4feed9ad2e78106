"""What each way to filter samples would keep, and how much of it is right."""

from __future__ import annotations

from typing import Any

import numpy as np
from etils import epath
from jaxtyping import Bool

from sweb_jax import layout
from sweb_jax.analysis import intervals, judges, metrics
from sweb_jax.analysis.cells import cells, interval_note, with_bounds
from sweb_jax.analysis.draws import Draws
from sweb_jax.analysis.judges import Opinions
from sweb_jax.analysis.results import Results
from sweb_jax.analysis.table import Table
from sweb_jax.budget import Arm

NAME = 'filters'
FIGURES = ('precision', 'recall', 'precision, reasoning', 'recall, reasoning')


def build(results: Results, workdir: epath.PathLike) -> list[Table]:
  """The table: a row an arm and filter that can be computed; none where no arm has samples of its own."""
  study, blind = results.study, judges.read(workdir, results, layout.ALL)
  rows = []
  for arm in study.drawn_arms:
    if not (sets := results.sets(results.drawn, (arm.generator,))):
      continue
    draws = [results.drawn[s, arm.generator].first(arm.samples) for s in sets]
    opinions = [blind.get((s, arm.generator)) for s in sets]
    masks = [kept(d, o) for d, o in zip(draws, opinions, strict=True)]
    for name in masks[0]:
      if any(name not in m for m in masks):
        continue
      estimates, pairs = [], [(d, m[name]) for d, m in zip(draws, masks, strict=True)]
      for reasoning in (False, True):
        good = [(d.correct & (d.valid == 1) if reasoning else d.correct) for d in draws]
        known = [~np.isnan(d.valid) if reasoning else np.ones_like(d.correct) for d in draws]
        for of_kept in (True, False):
          terms = [
            np.stack([(g & m & k).sum(axis=1), ((m if of_kept else g) & k).sum(axis=1)], axis=1).astype(float)
            for g, k, (_, m) in zip(good, known, pairs, strict=True)
          ]
          estimates.append(intervals.estimate(terms))
      users = [a.name for a in study.arms if _same_samples(a, arm) and _filter(results.config, a) == name]
      rows.append((
        *(arm.name, arm.generator, arm.samples, name, ' '.join(users)),
        *(sum(int(m.sum()) for _, m in pairs), sum(m.size for _, m in pairs)),
        *cells(estimates),
        sum(len(m) for _, m in pairs),
      ))
  if not rows:
    return []
  table = Table(
    NAME,
    'What each filter keeps',
    ('arm', 'generator', 'k', 'filter', 'examples of', 'kept', 'samples', *with_bounds(FIGURES), 'n'),
    tuple(rows),
    'Of the first k samples a problem, before any other rule. answer: the final answer is right. none: all that are '
    'whole. majority: the answer that most of the k samples give, of equals the first. judge: a judge model says '
    'right, without a right solution. A sample cut at the length limit is never kept. "examples of" names the arms '
    'that are trained on what the filter keeps. precision: share of the kept with a right answer; recall: share of the '
    'samples with a right answer that is kept; reasoning: the same for samples whose answer and every step are right, '
    'where the task can tell. n: problems over all sets. ' + interval_note(study),
  )
  return [table]


def kept(draws: Draws, opinions: Opinions | None) -> dict[str, Bool[np.ndarray, 'P k']]:
  """Filter -> which of an arm's samples it keeps, of those that can be computed.

  The same as `curation.accepted`, on arrays. Votes count among the given samples only.
  """
  whole = ~draws.truncated
  masks = {'answer': draws.correct & whole, 'none': whole}
  votes = np.where(whole, draws.votes, -1)
  if (votes >= 0).any():
    masks['majority'] = metrics.elected(votes)
  k = whole.shape[1]
  if opinions is not None and (opinions.asked[:, :k] | ~whole).all():
    masks['judge'] = whole & (opinions.right[:, :k] == 1)
  return masks


def _same_samples(a: Arm, b: Arm) -> bool:
  return (a.generator, a.samples, a.budget, a.policy) == (b.generator, b.samples, b.budget, b.policy) and (
    a == b or a.variant is not None
  )


def _filter(config: dict[str, Any], arm: Arm) -> str:
  """By what an arm's samples were filtered."""
  rules = config.get('data', {}) | (config.get('variants', {}).get(arm.variant) or {})
  return rules.get('filter', 'answer')
