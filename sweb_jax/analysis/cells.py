"""Parts that tables share: figures with their intervals as cells, and the words beside them."""

from __future__ import annotations

from collections.abc import Sequence

from sweb_jax.analysis import intervals
from sweb_jax.analysis.intervals import Estimate
from sweb_jax.analysis.study import Study
from sweb_jax.analysis.table import Cell
from sweb_jax.budget import Arm
from sweb_jax.layout import BASE

DIGITS = 4


def setup(study: Study, learner: str, source: str) -> str:
  """The paper's name for fine-tuning `learner` on `source`: who learns from whom.

  A learner that also generates is improved by its own data (self-improvement), by a smaller model's (weak-to-strong
  improvement) or by a larger one's (knowledge distillation); for any other learner it is knowledge distillation.
  """
  if source == BASE:
    return 'no fine-tuning'
  generator = study.arm(source).generator
  if generator is None:
    return 'several generators' if study.arm(source).policy else 'gold solutions'
  if learner == generator:
    return 'self-improvement'
  if learner in study.generators and study.parameters[learner] > study.parameters[generator] > 0:
    return 'weak-to-strong improvement'
  return 'knowledge distillation'


def cells(estimates: Sequence[Estimate | None]) -> list[Cell]:
  """Value, low and high of each estimate; three empty cells for one that does not exist."""
  found: list[Cell] = []
  for e in estimates:
    found += [None] * 3 if e is None else map(rounded, (e.value, e.interval.low, e.interval.high))
  return found


def with_bounds(figures: Sequence[str]) -> list[str]:
  """The columns of figures with their intervals, as `cells` fills them."""
  return [f'{figure}{end}' for figure in figures for end in ('', ' low', ' high')]


def rounded(value: float | None) -> float | None:
  """To `DIGITS` decimals."""
  # + 0.0 turns -0.0 into 0.0.
  return None if value is None else round(float(value), DIGITS) + 0.0


def scope(sets: int) -> str:
  """What a figure of so many question sets speaks for."""
  return 'this question set only' if sets == 1 else f'{sets} question sets'


def matched(study: Study, a: Arm, b: Arm) -> str:
  """By what the two sides are matched, '' where they are of two budgets; a control arm says it for both."""
  if a.budget and b.budget and a.budget != b.budget:
    return ''
  equal_cost = next((study.matched(arm) for arm in (a, b) if arm.matched), '')
  return next((arm.matched for arm in (a, b) if arm.matched not in (None, 'compute')), equal_cost)


def sides(a: Arm, b: Arm) -> tuple[str, str]:
  """Names of the sides: the generators, else, where they are the same, the arms."""
  if a.generator and b.generator and a.generator != b.generator:
    return side(a.generator), side(b.generator)
  return a.name, b.name


def side(generator: str) -> str:
  """A generator as a side of a comparison: the paper's WC and SE in capitals."""
  return generator.upper() if generator in ('wc', 'se') else generator


def interval_note(study: Study) -> str:
  """What the intervals beside the figures of a table are."""
  seeds = 'seeds of fine-tuning and problems' if study.seeds > 1 else 'problems'
  if len(study.question_sets) == 1:
    return f"One question set: intervals (95 %, Wilson's or bootstrap over {seeds}) hold for that question set only."
  return (
    'Intervals: 95 %, Student t over question sets (one less degrees of freedom), cut where a rate ends; where all '
    f"sets agree exactly, or only one is done, Wilson's or the bootstrap over {seeds}."
  )


def difference_note(study: Study) -> str:
  """The same for a paired difference."""
  draws = f'{intervals.RESAMPLES:,} resamples'
  over = "each side's seeds of fine-tuning, then problems" if study.seeds > 1 else 'problems'
  if len(study.question_sets) == 1:
    return (
      f'One question set: the interval (95 %, paired bootstrap over {over}, {draws}) and the verdict hold for that '
      'question set only. relative: difference / value B.'
    )
  return (
    'Each set gives one paired difference; the interval (95 %, Student t over question sets, one less degrees of '
    f'freedom) decides. "within sets" is the paired bootstrap over {over} ({draws}), which takes the sets as given; it '
    'decides only where all sets differ by exactly the same, or one is done. relative: difference / value B.'
  )
