"""The study's answer first: each comparison over all its learners, whether it is decided, and what would decide it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from sweb_jax.analysis import intervals, terms
from sweb_jax.analysis.cells import matched, rounded, side, sides
from sweb_jax.analysis.intervals import LEVEL, UNDECIDED, Difference, Terms
from sweb_jax.analysis.power import MOST_SETS, POWER, sets_needed
from sweb_jax.analysis.results import Results
from sweb_jax.analysis.study import MATCHED_BY
from sweb_jax.analysis.table import Cell, Table
from sweb_jax.budget import Arm

NAME = 'answer'
AVERAGE = ' on average over '
"""What parts a sentence: before it stands the answer, after it what it rests on."""


def build(results: Results) -> list[Table]:
  """The table: a row a comparison of which some learner is evaluated; none where there is no such comparison."""
  found = []
  for pair in results.study.comparisons:
    arms = results.study.arm(pair.a), results.study.arm(pair.b)
    learners = [
      m for m in results.study.learners if results.sets(results.greedy, *((m, arm.name) for arm in arms))
    ]
    sets = results.sets(results.greedy, *((m, arm.name) for m in learners for arm in arms))
    if learners and sets:
      a, b = (_pooled(results, arm.name, learners, sets) for arm in arms)
      if difference := intervals.compare(a, b):
        found.append((pair.name, arms, learners, a, b, difference))
  if not found:
    return []
  adjusted = intervals.holm([difference.p for *_, difference in found])
  rows = []
  for (name, (arm_a, arm_b), learners, a, b, d), p in zip(found, adjusted, strict=True):
    names, bounds = sides(arm_a, arm_b), d.deciding
    verdict = intervals.verdict(bounds, *names) if p <= 1 - LEVEL else UNDECIDED
    more = _more_sets(a, b, d, (1 - LEVEL) / len(found)) if verdict == UNDECIDED else None
    rows.append((
      *(name, arm_a.budget if arm_a.budget == arm_b.budget else None, matched(results.study, arm_a, arm_b)),
      *(names[0], arm_a.name, data_of(results, arm_a), names[1], arm_b.name, data_of(results, arm_b)),
      *(len(learners), *map(rounded, (d.a, d.b, d.value, bounds.low, bounds.high, d.p, p)), verdict),
      *(more, *_price_of(results, more), len(a), sum(t.shape[1] for t in a)),
    ))
  table = Table(
    NAME,
    'Which data trains better, over all learners',
    (
      *('comparison', 'budget', 'matched', 'side A', 'A', 'data A', 'side B', 'B', 'data B', 'learners'),
      *('value A', 'value B', 'difference', 'difference low', 'difference high', 'p', 'p, Holm', 'verdict'),
      *('more sets', 'minutes', 'dollars', 'sets', 'n'),
    ),
    tuple(rows),
    'Greedy pass@1 after A minus after B, the mean over the learners that are evaluated after both. The verdict names '
    f"a side where its interval leaves 0 out and p stands after Holm's correction for {len(rows)} comparisons. more "
    f'sets: how many further question sets would decide a difference of this size with a chance of {POWER:.0%} '
    f'(noncentral t, after the correction), at most {MOST_SETS:,}; from one set, whose problems alone tell how sets '
    'may differ, it is the least. minutes: what they take by the plan; dollars: what drawing their samples costs. '
    'Intervals as in the next table.',
  )
  return [table]


def data_of(results: Results, arm: Arm) -> str:
  """An arm's data in words, by its model's own name: 'gemma2_9b (WC, 30 samples a problem)'."""
  if arm.variant or arm.policy:
    return arm.name
  if arm.generator is None:
    return 'people (gold solutions)'
  name = side(arm.generator)
  own = _own_name(results.config.get('models', {}).get(arm.generator, ''))
  parts = [name] if own and own != arm.generator else []
  if arm.samples is not None:
    parts.append(f'{arm.samples:g} {"sample" if arm.samples == 1 else "samples"} a problem')
  return f'{own if own and own != arm.generator else name} ({", ".join(parts)})' if parts else name


def _own_name(source: str | Sequence[str]) -> str:
  """What a model of the config is called by who made it; '' where its source does not say, as files of samples."""
  first = source if isinstance(source, str) else source[0]
  if first.startswith('samples:'):
    return ''
  return first.rstrip('/').rpartition('#')[2].rpartition('/')[2].rpartition(':')[2]


def sentences(built: Sequence[Table]) -> tuple[list[str], list[str]]:
  """The answer, from a report's tables: of comparisons at equal cost of two generators, and of all others.

  Where the study compares nothing, the first are what fine-tuning brings.
  """
  named = {table.name: table for table in built}
  if NAME in named:
    rows = [dict(zip(named[NAME].columns, row, strict=True)) for row in named[NAME].rows]
    first = [row for row in rows if row['matched'] in MATCHED_BY.values()]
    rest = [row for row in rows if row not in first]
    return [_sentence(row, len(rows)) for row in first], [_sentence(row, len(rows)) for row in rest]
  table = named.get('minus_base')
  if table is None or not table.rows:
    return ['No fine-tuned learner has been evaluated yet: there is nothing to compare.'], []
  verdicts = table.column('verdict, Holm')
  worse, undecided = verdicts.count('base'), verdicts.count(UNDECIDED)
  return [
    f'Fine-tuning raised greedy accuracy in {len(verdicts) - worse - undecided} of {len(verdicts)} cases, lowered it '
    f"in {worse}, {undecided} undecided at 95 % after Holm's correction "
    f'({", ".join(dict.fromkeys(table.column("holds for")))}).'
  ], []


def _pooled(results: Results, source: str, learners: Sequence[str], sets: Sequence[int]) -> Terms:
  """Greedy correctness by seed and test problem, the mean over learners; of unequal seeds those that all have."""
  by_learner = [terms.greedy(results, learner, source, sets) for learner in learners]
  pooled = []
  for found in zip(*by_learner, strict=True):
    seeds = min(len(t) for t in found)
    pooled.append(np.mean([t[:seeds] for t in found], axis=0))
  return pooled


def _more_sets(a: Terms, b: Terms, d: Difference, alpha: float) -> int | None:
  """Question sets beyond those that are there, `MOST_SETS` at most; None where all sets agree exactly."""
  differences = [float(x[..., 0].mean() - y[..., 0].mean()) for x, y in zip(a, b, strict=True)]
  within = (d.within.high - d.within.low) / 2 / 1.96
  spread = float(np.std(differences, ddof=1)) if len(differences) > 1 else within
  if spread <= 1e-12:
    return None
  needed = sets_needed(d.value, spread, alpha)
  return MOST_SETS if needed is None else max(needed - len(differences), 1)


def _price_of(results: Results, sets: int | None) -> tuple[Cell, Cell]:
  """Minutes by the plan's work and rates, and dollars to draw the samples where there are prices, of so many sets."""
  study, rates = results.study, results.config.get('estimate', {})
  works = [work for step in study.steps for work in step.work]
  if sets is None:
    return None, None
  minutes = dollars = None
  if works and rates:
    seconds = sum(w['flops'] / rates['training_flops' if w['kind'] == 'train' else 'sampling_flops'] for w in works)
    minutes = round(seconds / 60 / len(study.question_sets) * sets, 1)
  # The samples of a generator's largest arm hold those of its others.
  most: dict[str, float] = {}
  for arm in study.arms:
    if arm.generator and not arm.policy and (price := study.costs.get(arm.name, {}).get('price')) is not None:
      most[arm.generator] = max(price, most.get(arm.generator, 0.0))
  if most:
    dollars = round(sum(most.values()) * sets, 2)
  return minutes, dollars


def _sentence(row: Mapping[str, Any], comparisons: int) -> str:
  value, low, high = (round(100 * row[f'difference{end}'], 1) + 0.0 for end in ('', ' low', ' high'))
  ahead, behind = row['data A'], row['data B']
  if value < 0:
    ahead, behind, value, low, high = behind, ahead, -value, -high + 0.0, -low + 0.0
  where = f'Under the {row["budget"]} budget' if row['budget'] else f'In the comparison {row["comparison"]!r}'
  over = f'{_count(row["learners"], "learner")} and {_count(row["sets"], "question set")}{_matched(row["matched"])}'
  points = f'{value:+.1f} points [{low:+.1f}, {high:+.1f}]'
  holm = f" after Holm's correction for {comparisons} comparisons" if comparisons > 1 else ''
  if row['verdict'] != UNDECIDED:
    return (
      f'{where}, data from {ahead} trained better models than data from {behind}: {points}{AVERAGE}{over}; decided at '
      f'95 %{holm}.'
    )
  lead = (
    f'{where} it is undecided whether data from {ahead} or from {behind} trains better models: {points} for the first'
    f'{AVERAGE}{over}, at 95 %{holm}.'
  )
  if row['more sets'] is None:
    return lead
  if row['more sets'] == MOST_SETS:
    return f'{lead} To decide a difference so small takes more than {MOST_SETS:,} question sets.'
  took = [f'{_number(row["minutes"])} minutes'] if row['minutes'] is not None else []
  took += [f'${row["dollars"]:,.2f} of samples'] if row['dollars'] is not None else []
  price = f', {" and ".join(took)} by the plan,' if took else ''
  about = 'About' if row['sets'] > 1 else 'At least'
  more = _count(row['more sets'], 'more question set')
  return f'{lead} {about} {more}{price} would decide a difference of this size.'


def _matched(how: str) -> str:
  by = {
    'number': ', with equally many samples', 'variant': ', the same samples by other rules', '': '',
    'spending': ', at equal spending', 'round': ', drawn in later rounds',
  }  # fmt: skip
  return by.get(how, f', matched by {how}')


def _count(number: int, thing: str) -> str:
  return f'{number:,} {thing}{"" if number == 1 else "s"}'


def _number(value: float) -> str:
  return f'{value:,.0f}' if value >= 10 else f'{value:.1f}'
