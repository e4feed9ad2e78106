"""What the paper found, to stand beside a study that makes the same comparison.

Bansal et al., "Smaller, Weaker, Yet Better: Training LLM Reasoners via Compute-Optimal Sampling", arXiv 2408.16737
(ICLR 2025): Gemma2-9B (WC) against Gemma2-27B (SE) at equal sampling compute, WC minus SE.
"""

from __future__ import annotations

from collections.abc import Sequence

from sweb_jax.analysis.results import Results
from sweb_jax.analysis.table import Cell, Table
from sweb_jax.budget import Arm

SOURCE = 'Bansal et al., arXiv 2408.16737'
STUDENT, WC, SE = 'Gemma-7B', 'Gemma2-9B', 'Gemma2-27B'
TASKS = {'math': 'MATH', 'gsm8k': 'GSM8K'}
BUDGETS = {1: 'low', 10: 'high'}
"""Samples of the SE model a problem -> the paper's name for the budget."""

DATA = {
  'coverage@k': {
    ('MATH', 'low'): '+11 points',
    ('MATH', 'high'): '+6 points',
    ('GSM8K', 'low'): '+8 points',
    ('GSM8K', 'high'): '+1 point',
  },
  'diversity@k (solved)': {
    ('MATH', 'low'): '+86 %',
    ('MATH', 'high'): '+125 %',
    ('GSM8K', 'low'): '+134 %',
    ('GSM8K', 'high'): '+158 %',
  },
  'FPR': {('MATH', 'low'): '+7 points (24 % against 17 %)', ('GSM8K', 'low'): '+2 points'},
}
"""Figure of the data -> (task, budget) -> WC minus SE; with '%', relative to SE."""

ACCURACY = {
  STUDENT: {('MATH', 'low'): 6, ('MATH', 'high'): 5.8, ('GSM8K', 'low'): 4.2, ('GSM8K', 'high'): 1.3},
  WC: {('MATH', 'low'): 3.8, ('MATH', 'high'): 2, ('GSM8K', 'low'): 1.5, ('GSM8K', 'high'): 0},
  SE: {('MATH', 'low'): 5.8, ('MATH', 'high'): 4.3, ('GSM8K', 'low'): 1.2, ('GSM8K', 'high'): 1.5},
}
"""Fine-tuned model -> (task, budget) -> percent that WC data gains over SE data, relative to SE."""

_FIGURES = {'coverage': 'coverage@k', 'diversity': 'diversity@k (solved)', 'false_positives': 'FPR'}


def beside(results: Results, built: Sequence[Table]) -> dict[str, Table]:
  """Figure -> this study's WC minus SE next to the paper's; empty for a study of another comparison.

  The paper's comparison is two generators at equal compute, SE with 1 sample a problem (low) or 10 (high). For a task
  that is not the paper's, both of the paper's tasks are shown.
  """
  pairs = _pairs(results)
  if not pairs:
    return {}
  named = {table.name: table for table in built}
  name = results.config.get('task', {}).get('name', '')
  tasks = [TASKS[name]] if name in TASKS else list(TASKS.values())
  headers = tuple(f'paper, {task}' for task in tasks)
  own = 'this study, WC minus SE'
  found = {}
  for figure, column in _FIGURES.items():
    rows = []
    for row in _rows(named.get('data_differences'), pairs):
      if row['figure'] == column and row['difference'] is not None:
        budget = pairs[row['A'], row['B']]
        rows.append((budget, _own(row), *(DATA[column].get((task, budget), '–') for task in tasks)))
    found[figure] = _table(figure, ('budget', own, *headers), rows)
  rows = []
  for row in _rows(named.get('differences'), pairs):
    if row['difference'] is not None:
      budget, model = pairs[row['A'], row['B']], _model(results, row['learner'])
      gains = (ACCURACY[model][task, budget] for task in tasks)
      rows.append((f'{budget}, {row["learner"]} ({model})', _own(row), *(f'{g:+g} %' if g else '0 %' for g in gains)))
  found['accuracy'] = _table('accuracy', ("budget, learner (the paper's)", own, *headers), rows)
  return {figure: table for figure, table in found.items() if table.rows}


def _pairs(results: Results) -> dict[tuple[str, str], str]:
  """(WC arm, SE arm) -> the paper's budget, for the comparisons that are the paper's."""
  study, size = results.study, results.study.parameters

  def fits(arm: Arm) -> bool:
    return arm.generator is not None and study.matched(arm) == 'compute' and not arm.policy

  found = {}
  if len(study.generators) == 2:
    for c in study.comparisons:
      a, b = study.arm(c.a), study.arm(c.b)
      if fits(a) and fits(b) and b.samples in BUDGETS and 0 < size[a.generator] < size[b.generator]:
        found[a.name, b.name] = BUDGETS[b.samples]
  return found


def _model(results: Results, learner: str) -> str:
  """The paper's model in the place of a learner."""
  study = results.study
  if learner not in study.generators:
    return STUDENT
  return WC if study.parameters[learner] == min(study.parameters[g] for g in study.generators) else SE


def _rows(table: Table | None, pairs: dict[tuple[str, str], str]) -> list[dict[str, Cell]]:
  rows = [dict(zip(table.columns, row, strict=True)) for row in table.rows] if table else []
  return [row for row in rows if (row['A'], row['B']) in pairs]


def _own(row: dict[str, Cell]) -> str:
  # No-break spaces: an interval is read in one piece.
  relative = '' if row['relative'] is None else f', {100 * row["relative"]:+.1f}\u00a0%'
  interval = f'[{row["difference low"]:+.3f},\u00a0{row["difference high"]:+.3f}]'
  return f'{row["difference"]:+.3f} {interval}{relative}'


def _table(figure: str, columns: tuple[str, ...], rows: list[tuple[Cell, ...]]) -> Table:
  return Table(
    f'{figure}_paper',
    'Beside the paper',
    columns,
    tuple(rows),
    f'Paper: {SOURCE}, {WC} (WC) against {SE} (SE), without intervals; % is relative to SE. Models and data of this '
    'study are others: compare the directions, not the numbers.',
  )
