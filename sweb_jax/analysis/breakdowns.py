"""Tables that look into the means: by difficulty, by who solves what, by the number of samples."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from jaxtyping import Bool

from sweb_jax.analysis import intervals, metrics, terms
from sweb_jax.analysis.cells import cells, interval_note, matched, setup, with_bounds
from sweb_jax.analysis.intervals import Terms
from sweb_jax.analysis.results import Results
from sweb_jax.analysis.table import Table
from sweb_jax.budget import Arm

TERCILES = ('1 hard', '2 middle', '3 easy')
TASK_LEVELS = 'Levels are those of the task.'
THIRDS = (
  'The task names no levels: thirds of the training problems of a set by how often the samples of the other generators '
  'are right, equals in the harder third: by its own samples a generator would look too weak on the hard third and too '
  'strong on the easy one. The thirds of two generators are therefore not of the same problems.'
)
_NO_LEVEL = 'no level'


def pass_k(results: Results) -> Table:
  """pass@k of the drawn solutions of test problems, for k = 1, 2, 4, ... and those of the plan."""
  study, rows = results.study, []
  for learner in study.learners:
    for source in study.sources:
      if sets := results.sets(results.sampled, (learner, source)):
        drawn = min(d.correct.shape[1] for s in sets for d in results.sampled[s, learner, source])
        powers = (2**i for i in range(drawn.bit_length()))
        for k in sorted({drawn, *powers, *study.maj_k}):
          found = terms.by_seed(
            results.sampled, learner, source, sets, lambda d, k=k: metrics.pass_at_k(d.correct, k)
          )
          estimate = intervals.estimate(found)
          first = learner, source, setup(study, learner, source), k, drawn
          rows.append((*first, *cells([estimate]), len(sets), sum(t.shape[1] for t in found)))
  return Table(
    'pass_k',
    'pass@k on test problems',
    ('learner', 'source', 'setup', 'k', 'drawn', *with_bounds(('pass@k',)), 'sets', 'n'),
    tuple(rows),
    'pass@k: expected share of test problems with a right solution among k drawn at temperature, unbiased from all '
    'that were drawn. n: problems over all sets. ' + interval_note(study),
  )


def by_level(results: Results) -> Table:
  """Coverage of the data and greedy accuracy by the difficulty of the problems."""
  study, rows = results.study, []
  named = _named({s: levels for (s, split), levels in results.levels.items() if split == 'train'})
  for arm in study.drawn_arms:
    groups = named or _thirds(results, arm.generator)
    if sets := [s for s in results.sets(results.drawn, (arm.generator,)) if s in groups]:
      found = terms.data(results, arm, sets)
      for figure in ('coverage@k', 'diversity@k (all)'):
        first = figure.replace('@k', f'@{arm.samples}'), '', arm.name
        rows += _levels(first, found[figure], [groups[s] for s in sets])
  tests = _named({s: levels for (s, split), levels in results.levels.items() if split == 'test'})
  for learner in study.learners:
    for source in study.sources:
      if sets := [s for s in results.sets(results.greedy, (learner, source)) if s in tests]:
        found = terms.greedy(results, learner, source, sets)
        rows += _levels(('greedy pass@1', learner, source), found, [tests[s] for s in sets])
  return Table(
    'by_level',
    'By difficulty',
    ('figure', 'learner', 'source', 'level', *with_bounds(('value',)), 'sets', 'n'),
    tuple(rows),
    f'coverage@k and diversity@k (over all problems): of the samples of training problems; greedy pass@1: of test '
    f'problems, where the task names their level. {TASK_LEVELS if named else THIRDS} n: problems over all sets. '
    + interval_note(study),
  )


def one_sided(results: Results) -> Table:
  """Training problems that the data of one side of a comparison solve, and those of the other do not."""
  study, rows = results.study, []
  for pair in study.comparisons:
    a, b = study.arm(pair.a), study.arm(pair.b)
    if 'variant' in (a.matched, b.matched) or not (found := _solved(results, a, b)):
      continue
    shares = [[x & ~y for x, y in found], [y & ~x for x, y in found]]
    both, neither = (sum(int(which(x, y).sum()) for x, y in found) for which in (np.logical_and, np.logical_or))
    n = sum(len(x) for x, _ in found)
    rows.append((
      *(pair.name, matched(study, a, b), a.name, b.name, *(sum(int(o.sum()) for o in only) for only in shares)),
      *(both, n - neither),
      *cells([intervals.estimate([intervals.mean_terms(o) for o in only]) for only in shares]),
      *(len(found), n),
    ))
  return Table(
    'one_sided',
    'Training problems that only one side solves',
    (
      *('comparison', 'matched', 'A', 'B', 'only A', 'only B', 'both', 'neither'),
      *with_bounds(('share only A', 'share only B')),
      *('sets', 'n'),
    ),
    tuple(rows),
    'Solved: a correct sample is among those that the arm holds, so at one cost where the arms are matched by cost. '
    'Counts are problems over all sets, n of them. ' + interval_note(study),
  )


def _solved(results: Results, a: Arm, b: Arm) -> list[tuple[Bool[np.ndarray, ' P'], Bool[np.ndarray, ' P']]]:
  """For each set that is done for both: which problems the samples of either arm solve."""
  if a.policy or b.policy:
    sets = results.sets(results.held, (a.name,), (b.name,))
    return [(results.held[s, a.name].solved, results.held[s, b.name].solved) for s in sets]
  if not (a.generator and b.generator):
    return []
  sets = results.sets(results.drawn, (a.generator,), (b.generator,))
  return [
    tuple(results.drawn[s, arm.generator].first(arm.samples).correct.any(axis=1) for arm in (a, b)) for s in sets
  ]


def _thirds(results: Results, generator: str) -> dict[int, list[str]]:
  """The third of every training problem, by set, as the other generators find it."""
  others = [g for g in results.study.counts if g != generator]
  groups = {}
  for s in results.sets(results.drawn, *((g,) for g in others)) if others else ():
    rate = np.mean([results.drawn[s, g].correct.mean(axis=1) for g in others], axis=0)
    hard, easy = np.quantile(rate, [1 / 3, 2 / 3])
    groups[s] = [TERCILES[0 if r <= hard else 2 if r > easy else 1] for r in rate]
  return groups


def _named(levels: dict[int, Sequence[str]]) -> dict[int, list[str]]:
  """Levels by set; none where there is only one."""
  several = len({level for found in levels.values() for level in found}) > 1
  return {s: [level or _NO_LEVEL for level in found] for s, found in levels.items()} if several else {}


def _levels(first: tuple[str, ...], found: Terms, groups: Sequence[Sequence[str]]) -> list[tuple]:
  """A row a level."""
  rows = []
  for level in sorted({level for group in groups for level in group}):
    chosen = [t[..., np.array(group) == level, :] for t, group in zip(found, groups, strict=True)]
    chosen = [t for t in chosen if t.shape[-2]]
    n = sum(t.shape[-2] for t in chosen)
    rows.append((*first, level, *cells([intervals.estimate(chosen)]), len(chosen), n))
  return rows
