"""The figures of a report: each is a table, the picture of it, and the paper's numbers beside it where it has some."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

from sweb_jax.analysis import drawing, metrics, paper, plots, training_plots, trainings
from sweb_jax.analysis.breakdowns import TASK_LEVELS, THIRDS
from sweb_jax.analysis.draws import Draws
from sweb_jax.analysis.results import Results
from sweb_jax.analysis.study import MATCHED_BY
from sweb_jax.analysis.table import Cell, Table
from sweb_jax.analysis.tables import with_bounds
from sweb_jax.analysis.trainings import Training
from sweb_jax.budget import UNITS

CURVE_POINTS = 12
"""Sample counts at which a curve is computed, evenly spaced on a log scale."""
WHAT = {
  'coverage': 'All problems count.',
  'diversity': 'Different correct solutions divided by solved problems, as in the table of the data.',
}
COSTS = {
  'paper': 'Cost: 2 x parameters x tokens drawn.',
  'flops': 'Cost: FLOPs of the samples and of reading their prompts.',
  'price': 'Cost: dollars for the tokens drawn and the prompts read.',
  'seconds': 'Cost: device seconds of the tokens drawn.',
  'tokens': 'Cost: tokens drawn.',
}


@dataclasses.dataclass(frozen=True)
class Figure:
  """One picture of a report."""

  table: Table
  """All that is drawn; its name is the figure's, its note the caption."""
  svg: str
  """Standalone."""
  beside: Table | None = None
  """The same comparison in the paper."""


def build(
  results: Results, built: Sequence[Table], trained: Sequence[Training] = (), labelled: Sequence[tuple[Cell, ...]] = ()
) -> list[Figure]:
  """Every figure that the results, the tables and the trainings allow; what is not there is left out.

  `labelled` is what a person said of the reasoning (`labels.by_arm`).
  """
  named, published = {table.name: table for table in built}, paper.beside(results, built)
  color = drawing.colors(results.study.generators)
  found: list[Figure] = []

  def add(table: Table | None, draw: Callable[..., str], *arguments: Any) -> None:
    if table and table.rows:
      found.append(Figure(table, draw(table, *arguments), published.get(table.name)))

  add(accuracy(results, named.get('accuracy')), plots.accuracy, color)
  add(_differences(named.get('differences') or named.get('minus_base')), plots.forest)
  unit = UNITS[results.study.cost]
  for metric in ('coverage', 'diversity'):
    add(curve(results, metric), plots.curve, color, unit)
  add(by_level(results, named.get('by_level')), plots.levels, color)
  add(false_positives(named.get('data'), labelled), plots.rates, 'FPR', color)
  add(majority(results, named.get('accuracy')), plots.majority, color)
  add(named.get('rounds'), plots.rounds)
  costs, columns = trainings.costs(results, named.get('accuracy'), trained)
  add(costs, training_plots.costs, columns, color)
  add(trainings.curves(results, trained), training_plots.curves, color)
  spent = f'spent, {unit} a problem'
  bought = arms(results, named.get('arms'), spent)
  if bought and any(arm.policy for arm in results.study.arms):
    add(bought, plots.arms, ('solved', 'unique a problem'), spent, unit, color)
  add(spending(results, named.get('arms'), spent), plots.spending, spent, unit, color)
  return found


def curve(results: Results, metric: str) -> Table:
  """'coverage', or 'diversity' a solved problem, of the first k samples against what they cost, by generator.

  Rows of set 'all' are means over the question sets; their interval is for problems drawn anew, the sets held fixed
  (for diversity, a ratio of two means, by its linear approximation, Cochran, Sampling Techniques, 1977, section 2.11).
  """
  study, rows = results.study, []
  for g in study.generators:
    draws = {s: results.drawn[s, g] for s in study.question_sets if (s, g) in results.drawn}
    if not draws:
      continue
    most = min(d.correct.shape[1] for d in draws.values())
    mine = [a for a in study.arms if a.generator == g and not a.policy and a.samples <= most]
    bought = {a.samples: a.name for a in reversed(mine)}  # Of equal arms the compute-matched one, which is first.
    counts = sorted({*np.geomspace(1, most, CURVE_POINTS).round().astype(int).tolist(), *bought})
    values = {s: [_ratio(d, metric, k) for k in counts] for s, d in draws.items()}
    once, each = np.mean([results.sample_costs[s, g] for s in draws], axis=0).tolist()
    for i, k in enumerate(counts):
      if None in (sets := [v[i] for v in values.values()]):
        continue  # A set without a solved problem has no diversity.
      centre = float(np.mean([value for value, _ in sets]))
      half = 1.96 * float(np.sqrt(sum(variance for _, variance in sets))) / len(sets)
      bounds = max(centre - half, 0.0), min(centre + half, 1.0) if metric == 'coverage' else centre + half
      cost = once + k * each
      rows.append((g, 'all', k, *_rounded(cost, centre, *bounds), bought.get(k, '')))
      if len(draws) > 1:
        rows += [(g, str(s), k, *_rounded(cost, v[i][0]), None, None, '') for s, v in values.items()]
  return Table(
    metric,
    f'{metric.capitalize()} at {MATCHED_BY[study.cost]}',
    ('generator', 'set', 'k', 'cost', metric, f'{metric} low', f'{metric} high', 'arm'),
    tuple(rows),
    'Line: mean over question sets; thin: each set; band: 95 % for new problems, sets held fixed; dots: arms, with '
    f'their samples a problem. {WHAT[metric]} {COSTS[study.cost]}',
  )


def by_level(results: Results, table: Table | None) -> Table | None:
  """Coverage by difficulty of each arm of equal cost."""
  if not table:
    return None
  names = {arm.name: arm.generator for arm in results.study.arms if arm.matched == 'compute' and not arm.policy}
  rows = [
    (source, names[source], *rest)
    for figure, source, *rest in _columns(table, 'figure', 'source', 'level', *_bounds('value'), 'n')
    if figure.startswith('coverage@') and source in names
  ]
  return Table(
    'levels',
    'Coverage by difficulty',
    ('arm', 'generator', 'level', *_bounds('coverage@k'), 'problems'),
    tuple(rows),
    f'Share of the problems of each difficulty that the {MATCHED_BY[results.study.cost]}-matched arms solve. '
    f'{next((note for note in (TASK_LEVELS, THIRDS) if note in table.note), table.note)}',
  )


def accuracy(results: Results, table: Table | None) -> Table | None:
  """Greedy pass@1 by learner and source."""
  if not table:
    return None
  arms_of = {arm.name: arm for arm in results.study.arms}
  rows = []
  for learner, source, setup, *figure in _columns(table, 'learner', 'source', 'setup', *_bounds('greedy pass@1'), 'n'):
    arm = arms_of.get(source)
    rows.append((learner, source, arm and arm.generator, arm and results.study.matched(arm), setup, *figure))
  return Table(
    'accuracy',
    'Fine-tuned accuracy',
    ('learner', 'source', 'generator', 'matched', 'setup', *_bounds('greedy pass@1'), 'n'),
    tuple(rows),
    'Every fine-tuned model by its data, with 95 % intervals; hollow: not matched by '
    f'{MATCHED_BY[results.study.cost]}. Lines across a group: the model before fine-tuning, and after gold solutions, '
    'where the study has them; shaded: their intervals.',
  )


def majority(results: Results, table: Table | None) -> Table | None:
  """maj@k by k; None unless the study has two k or more."""
  ks = results.study.maj_k
  if not table or len(ks) < 2:
    return None
  arms_of, rows = {arm.name: arm for arm in results.study.arms}, []
  for k in ks:
    for learner, source, *figure in _columns(table, 'learner', 'source', *_bounds(f'maj@{k}')):
      arm = arms_of.get(source)
      if figure[0] is not None and (arm is None or arm.matched != 'number'):
        rows.append((learner, source, arm and arm.generator, k, *figure))
  return Table(
    'majority',
    'Majority vote of k samples',
    ('learner', 'source', 'generator', 'k', *_bounds('maj@k')),
    tuple(rows),
    'Accuracy of the most frequent of k answers at temperature, with 95 % intervals; points of one k stand side by '
    'side. Number-matched controls are in the table.',
  )


def false_positives(table: Table | None, labelled: Sequence[tuple[Cell, ...]]) -> Table | None:
  """The false positive rate of each arm, as the task's checker and as a person finds it."""
  if not table:
    return None
  columns = _columns(table, 'arm', 'generator', *_bounds('FPR'), 'judged')
  rows = [(*row, 'checker') for row in columns if row[2] is not None] + [(*row, 'person') for row in labelled]
  return Table(
    'false_positives',
    'False positives',
    ('arm', 'generator', *_bounds('FPR'), 'judged', 'by'),
    tuple(rows),
    'Share of the kept solutions whose answer is right and whose reasoning is wrong, with 95 % intervals: by the '
    "task's checker; where a row says so, by the person who labelled some of them.",
  )


def arms(results: Results, table: Table | None, spent: str) -> Table | None:
  """What each arm holds beside what it was charged a problem."""
  if not table:
    return None
  total = f'spent, {UNITS[results.study.cost]}'
  figures = _bounds('solved') + _bounds('unique a problem')
  rows = [
    (arm, policy, cost / problems, *figure, results.study.arm(arm).generator)
    for arm, policy, cost, problems, *figure in _columns(table, 'arm', 'policy', total, 'problems', *figures)
  ]
  return Table(
    'arms',
    'What each arm bought',
    ('arm', 'policy', spent, *figures, 'generator'),
    tuple(rows),
    'What each arm bought with what it was charged, with 95 % intervals. Arms of nearly one cost stand side by side.',
  )


def spending(results: Results, table: Table | None, spent: str) -> Table | None:
  """What each arm was charged, and what was planned."""
  if not table:
    return None
  unit, arms_of = UNITS[results.study.cost], {arm.name: arm for arm in results.study.arms}
  rows = []
  for arm, cost, planned, problems in _columns(table, 'arm', f'spent, {unit}', f'planned, {unit}', 'problems'):
    rows.append((arm, arms_of[arm].generator, cost / problems, None if planned is None else planned / problems))
  return Table(
    'spending',
    'Budget spent',
    ('arm', 'generator', spent, 'planned'),
    tuple(rows),
    f'What each arm was charged a training problem (cost: {results.study.cost}), and what the plan expected.',
  )


def _differences(table: Table | None) -> Table | None:
  if not table:
    return None
  drop = {'setup A', 'setup B', 'setup', 'holds for'}
  columns = tuple(c for c in table.columns if c not in drop)
  note = (
    'A point to the right: the side named first is better. Thick: the interval that decides, filled where it leaves 0 '
    "out, a square where that stands after Holm's correction for all of them; thin: bootstrap within the sets."
  )
  return Table(table.name, table.title, columns, tuple(_columns(table, *columns)), note)


def _ratio(d: Draws, metric: str, k: int) -> tuple[float, float] | None:
  """A figure over the problems of a set and its variance; None where nothing is solved."""
  solved = metrics.coverage(d.correct, k)
  top = solved if metric == 'coverage' else metrics.diversity(d.keys, d.correct, k)
  bottom = np.ones_like(solved) if metric == 'coverage' else solved
  if not bottom.any():
    return None
  value = float(top.sum() / bottom.sum())
  return value, float(np.var((top - value * bottom) / bottom.mean()) / len(top))


def _rounded(cost: float, *figures: float) -> tuple[Cell, ...]:
  return float(f'{cost:.6g}'), *(round(x, 4) for x in figures)


def _bounds(figure: str) -> tuple[str, ...]:
  return tuple(with_bounds([figure]))


def _columns(table: Table, *names: str) -> list[tuple[Cell, ...]]:
  return list(zip(*map(table.column, names), strict=True))
