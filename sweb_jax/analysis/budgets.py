"""Tables of what was spent and what it bought: every arm beside every other, and where the tokens went."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from sweb_jax.analysis import intervals
from sweb_jax.analysis.intervals import Terms
from sweb_jax.analysis.results import Results
from sweb_jax.analysis.table import Table
from sweb_jax.budget import KINDS, UNITS, Arm

FIGURES = ('solved', 'unique a problem')
"""What `terms` gives that a policy may be judged by."""
_FOLDERS = ('samples', 'allocations', 'opinions', 'models', 'scores')


def build(results: Results) -> list[Table]:
  """The tables 'arms' and 'charged', where the workdir says what was charged."""
  return [arms(results), charged(results)] if results.held else []


def terms(results: Results, arm: Arm, sets: Sequence[int]) -> dict[str, Terms]:
  """What an arm holds, by problem and set: whether a problem is solved, and its different correct solutions."""
  held = [results.held[s, arm.name] for s in sets]
  return {
    'solved': [intervals.mean_terms(h.solved) for h in held],
    'unique a problem': [intervals.mean_terms(h.unique) for h in held],
  }


def arms(results: Results) -> Table:
  """Planned and spent, and what it bought."""
  study = results.study
  names = list(next(iter(results.held.values())).spent)
  rows = []
  for arm in study.arms:
    if not (sets := results.sets(results.held, (arm.name,))):
      continue
    held = [results.held[s, arm.name] for s in sets]
    spent = {name: sum(h.spent[name] for h in held) for name in names}
    budget = sum(h.budget for h in held) if arm.samples is None and held[0].budget else None
    planned = study.costs.get(arm.name, {}).get(study.cost)
    figures = [intervals.estimate(t) for t in terms(results, arm, sets).values()]
    rows.append((
      *(arm.name, arm.policy or 'uniform', arm.budget),
      ' + '.join(f'{sum(h.samples[g] for h in held)} {g}' for g in held[0].samples),
      None if planned is None else _number(planned * len(held)),
      *(None if budget is None else _number(budget), _number(spent[study.cost])),
      None if budget is None else round(spent[study.cost] / budget - 1, 5),
      *(round(x, 4) for e in figures for x in (e.value, e.interval.low, e.interval.high)),
      sum(int(h.correct.sum()) for h in held),
      *(_number(spent[name]) for name in names if name != study.cost),
      sum(len(h.solved) for h in held),
    ))
  unit = UNITS[study.cost]
  return Table(
    'arms',
    'What each arm was charged and what it holds',
    (
      *('arm', 'policy', 'budget', 'samples', f'planned, {unit}', f'budget, {unit}', f'spent, {unit}', 'over'),
      *(f'{figure}{end}' for figure in FIGURES for end in ('', ' low', ' high')),
      'correct',
      *(f'{name}, {UNITS[name]}' for name in names if name != study.cost),
      'problems',
    ),
    tuple(rows),
    f'Cost is {study.cost!r}; the columns of other definitions say what the same samples cost under them. An arm is '
    'charged for all it holds, also where another arm drew it first. planned: from assumed lengths; budget: what a '
    'policy was given, which is what the arm it is compared with was charged, or an amount of the config; over: spent '
    'beyond it, as a share. solved: share of problems with a correct sample, and unique: different correct solutions a '
    'problem, both as they are in the arm. correct: samples before any rule of the data set. Sums over question sets.',
  )


def charged(results: Results) -> Table:
  """Where the tokens went."""
  kinds = [k for k in KINDS if any(kind == k for _, _, kind in results.charged)]
  rows = []
  for folder, model in dict.fromkeys((f, m) for f, m, _ in sorted(results.charged, key=_order)):
    counts = [results.charged.get((folder, model, kind), 0) for kind in kinds]
    rows.append((folder, model, *counts, sum(counts)))
  return Table(
    'charged',
    'Where the tokens went',
    ('folder', 'model', *kinds, 'tokens'),
    tuple(rows),
    'From the ledgers beside the samples: every token drawn, kept or not, and every prompt read. prefix: worked '
    'examples, once a step; prompt: once a problem and step, for all its samples. samples: drawn for every problem; '
    'allocations: drawn beyond them for an arm that a policy decides. opinions: by a judge. models: on validation '
    'problems. scores: on test problems.',
  )


def _order(key: tuple[str, str, str]) -> tuple[int, str, str]:
  folder, model, _ = key
  return _FOLDERS.index(folder) if folder in _FOLDERS else len(_FOLDERS), folder, model


def _number(value: float) -> float:
  """Whole numbers as such: FLOPs and tokens are exact."""
  return round(value) if float(value).is_integer() else float(np.format_float_positional(value, 6, fractional=False))
