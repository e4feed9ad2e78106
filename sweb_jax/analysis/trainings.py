"""How the trainings went: loss and validation accuracy by step, and accuracy beside what data and training cost."""

from __future__ import annotations

import collections
import dataclasses
import statistics
from collections.abc import Iterator, Sequence
from typing import Any

from etils import epath

from sweb_jax import layout, records
from sweb_jax.analysis.results import Results
from sweb_jax.analysis.study import damaged, done
from sweb_jax.analysis.table import Cell, Table
from sweb_jax.budget import UNITS, training_flops_per_token
from sweb_jax.layout import BASE
from sweb_jax.runtime import files

POINTS = 25
"""Points of a loss curve; each is the mean of the steps since the one before."""


@dataclasses.dataclass(frozen=True)
class Training:
  """A learner on an arm, once: one question set, one seed, all learning rates that were tried."""

  question_set: int
  learner: str
  source: str
  losses: tuple[tuple[int, float], ...]
  """(step, loss) at the chosen learning rate; empty where the file of the steps is not there any more."""
  scores: tuple[tuple[int, float], ...]
  """(step, share of validation problems that are right) at the chosen learning rate."""
  tokens: int | None
  """Trained on at all learning rates together; None where a file of steps is not there."""


def read(root: epath.Path, results: Results) -> list[Training]:
  """All trainings that are done. Raises AnalysisError where a file of one is damaged."""
  study, found = results.study, []
  finished = done(root, study)
  for s in study.question_sets:
    for learner in study.learners:
      for source in study.sources[1:]:
        for run in study.runs(source):
          if finished.get(folder := layout.model(s, learner, run)) == '':
            try:
              found.append(Training(s, learner, source, *_read(root / folder)))
            except (ValueError, KeyError, TypeError, OSError) as e:
              raise damaged(f'{root / folder}: the record of a training cannot be read: {e}') from e
  return found


def curves(results: Results, trained: Sequence[Training]) -> Table:
  """Loss and validation accuracy by step, the mean over question sets and seeds of fine-tuning."""
  groups: dict[tuple[str, str], list[Training]] = collections.defaultdict(list)
  for t in trained:
    groups[t.learner, t.source].append(t)
  rows: list[tuple[Cell, ...]] = []
  for (learner, source), mine in groups.items():
    first = learner, source, results.study.arm(source).generator
    rows += [(*first, 'loss', *point) for point in _means([p for t in mine for p in t.losses], POINTS)]
    rows += [(*first, 'validation accuracy', *point) for point in _means([p for t in mine for p in t.scores])]
  return Table(
    'trainings',
    'How the trainings went',
    ('learner', 'source', 'generator', 'figure', 'step', 'value', 'values'),
    tuple(rows),
    'At the chosen learning rate, the mean over question sets and seeds of fine-tuning: the loss of the training '
    'batches, and the share of validation problems that is right at each checkpoint, by which one was chosen.',
  )


def costs(results: Results, table: Table | None, trained: Sequence[Training]) -> tuple[Table, tuple[str, ...]]:
  """Greedy accuracy beside what the data and the training cost on a question set, and the columns of cost to draw.

  The two costs are added up where both are FLOPs.
  """
  study, unit = results.study, UNITS[results.study.cost]
  sampling, training, both = f'sampling, {unit}', 'training, FLOPs', 'sampling and training, FLOPs'
  rows = []
  for row in [dict(zip(table.columns, row, strict=True)) for row in table.rows] if table else []:
    learner, source = row['learner'], row['source']
    mine = [t.tokens for t in trained if (t.learner, t.source) == (learner, source)]
    held = [results.held[s, source].spent[study.cost] for s in results.sets(results.held, (source,))]
    if source == BASE or not mine or None in mine or not (held or study.arm(source).budget is None):
      continue
    arm, spent = study.arm(source), statistics.fmean(held) if held else 0.0
    flops = training_flops_per_token(study.parameters[learner]) * statistics.fmean(mine)
    figures = (row[f'greedy pass@1{end}'] for end in ('', ' low', ' high'))
    together = (spent + flops,) if unit == 'FLOPs' else ()
    rows.append((learner, source, arm.generator, *(float(f'{x:.6g}') for x in (spent, flops, *together)), *figures))
  columns = (both,) if unit == 'FLOPs' else (sampling, training)
  return Table(
    'costs',
    'Accuracy at the cost of data and training',
    (
      *('learner', 'source', 'generator', sampling, training, *((both,) if unit == 'FLOPs' else ())),
      *('greedy pass@1', 'greedy pass@1 low', 'greedy pass@1 high'),
    ),
    tuple(rows),
    'A fine-tuned model of one question set: what its training data were charged, and 6 x parameters x tokens trained '
    'on, at all learning rates that were tried. Solutions by people cost no sampling. With 95 % intervals.',
  ), columns


def _read(folder: epath.Path) -> tuple[Any, ...]:
  """Losses, scores and tokens of a step's folder."""
  selection = files.read_json(folder / layout.SELECTION)
  chosen, validation = selection['learning_rate'], selection['validation']
  rates = {score['learning_rate'] for score in validation} | {chosen}
  scores = tuple((v['step'], v['accuracy']) for v in validation if v['learning_rate'] == chosen)
  losses, tokens = (), 0
  for rate in sorted(rates):
    path = folder / layout.rate(rate) / layout.METRICS
    if not path.exists():
      tokens = None
      continue
    rows = [row for _, row in records.read_json_lines(path)]
    tokens = None if tokens is None else tokens + sum(row['tokens'] for row in rows)
    if rate == chosen:
      losses = tuple((row['step'], row['loss']) for row in rows)
  return losses, scores, tokens


def _means(points: Sequence[tuple[int, float]], most: int | None = None) -> Iterator[tuple[int, float, int]]:
  """(step, mean, number of values) at every step, or at `most` of them: a mean of the steps since the one before."""
  width = -(-max((step for step, _ in points), default=1) // most) if most else 1
  bins: dict[int, list[float]] = collections.defaultdict(list)
  for step, value in points:
    bins[-(-step // width) * width].append(value)
  for step in sorted(bins):
    yield step, round(statistics.fmean(bins[step]), 4), len(bins[step])
