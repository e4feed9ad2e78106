"""From budgets to arms: how many samples a problem each generator draws, and which arms stand side by side.

Every budget is given by one generator, the anchor, and its samples a problem. At the same compute another generator
draws as many as cost the same (paper: S_WC = P_SE / P_WC * S_SE, the ratio rounded to a whole number).
"""

from __future__ import annotations

import dataclasses
import itertools
from collections.abc import Mapping, Sequence

from sweb_jax.budget.cost import BudgetError, ratio

GOLD = 'gold'
"""Name of the arm of solutions written by people."""


@dataclasses.dataclass(frozen=True)
class Arm:
  """One data set to train on."""

  name: str
  """'{generator}_{budget}'; its number-matched control ends in '_n'; or 'gold'."""
  generator: str | None
  """None for solutions written by people, as are the fields below."""
  samples: int | None
  """Drawn for each problem: those with index 0 .. samples - 1."""
  budget: str | None
  matched: str | None
  """'compute': costs what the anchor's samples cost. 'number': as many samples as the anchor's."""


@dataclasses.dataclass(frozen=True)
class Comparison:
  """Two arms side by side, by name; `a` is the cheaper generator's."""

  name: str
  a: str
  b: str


def matched_samples(anchor_parameters: int, anchor_samples: int, parameters: int) -> int:
  """Samples a problem of a model with `parameters` for the price of `anchor_samples` of the anchor's.

  The dearer model counts as a whole number of the cheaper one, the nearest (27B / 9B = 2.95 -> 3), as in the paper.
  For a model dearer than the anchor it is what the budget pays for in full: 10 of 27B for 30 or 31 of 9B; 0 where it
  pays for none. Raises BudgetError for sizes or samples that are not positive.
  """
  if anchor_samples < 1:
    raise BudgetError(f'{anchor_samples} samples a problem is no budget; it starts at 1')
  if parameters <= anchor_parameters:
    return anchor_samples * round(ratio(anchor_parameters, parameters))
  return anchor_samples // round(ratio(parameters, anchor_parameters))


def match_arms(
  budgets: Mapping[str, Mapping[str, int]],
  parameters: Mapping[str, int],
  *,
  number_matched: bool,
  gold: bool,
) -> list[Arm]:
  """The arms of a study.

    match_arms({'low': {'se': 1}}, {'wc': 9 * 10**9, 'se': 27 * 10**9}, number_matched=True, gold=True)
    -> wc_low (3 samples, 'compute'), se_low (1, 'compute'), wc_low_n (1, 'number'), gold

  Args:
    budgets: budget name -> {anchor: its samples a problem}, one anchor a budget.
    parameters: generator -> number of parameters.
    number_matched: add, for every generator but the anchor, a control of as many samples as the anchor's.
    gold: add the arm of solutions written by people.

  Returns:
    Compute-matched arms by budget, the cheaper generator first, then number-matched ones, then 'gold'. Arms that
    coincide (wc_low and wc_low_n at a ratio of 1) stay apart by name.

  Raises:
    BudgetError: no generators or budgets, not exactly one anchor, an anchor that is no generator, samples or sizes
      that are not positive whole numbers, a budget too small for one sample, or two arms of one name.
  """
  if not parameters or not budgets:
    raise BudgetError('a study needs at least one generator, with its number of parameters, and one budget')
  for generator, size in parameters.items():
    if not _positive(size):
      raise BudgetError(f'generator {generator!r}: {size!r} is not a number of parameters')
  generators = sorted(parameters, key=lambda g: parameters[g])
  compute, number = [], []
  for budget, anchors in budgets.items():
    if len(anchors) != 1:
      raise BudgetError(f'budget {budget!r} must name one anchor generator with its samples, found {list(anchors)}')
    ((anchor, samples),) = anchors.items()
    if anchor not in parameters:
      raise BudgetError(f'budget {budget!r}: {anchor!r} is not a generator; generators are {", ".join(parameters)}')
    if not _positive(samples):
      raise BudgetError(f'budget {budget!r}: {samples!r} samples of {anchor!r} is not a whole number of at least 1')
    for generator in generators:
      drawn = matched_samples(parameters[anchor], samples, parameters[generator])
      if drawn < 1:
        raise BudgetError(
          f'budget {budget!r}: {samples} samples of {anchor!r} are too small for a single sample of {generator!r}'
        )
      compute.append(Arm(f'{generator}_{budget}', generator, drawn, budget, 'compute'))
      if number_matched and generator != anchor:
        number.append(Arm(f'{generator}_{budget}_n', generator, samples, budget, 'number'))
  arms = compute + number + ([Arm(GOLD, None, None, None, None)] if gold else [])
  names = [a.name for a in arms]
  if twice := {n for n in names if names.count(n) > 1}:
    raise BudgetError(f'two arms are called {", ".join(sorted(twice))}; rename a generator or a budget')
  return arms


def comparisons(arms: Sequence[Arm]) -> list[Comparison]:
  """The pairs of generators at one budget: first compute-matched ('low budget'), then 'low budget, number-matched'.

  Args:
    arms: as `match_arms` gives them: the cheaper generator first, which becomes `a`.

  Returns:
    A comparison for every pair; with more than two generators its name ends in ': wc against se'.
  """
  compute = [a for a in arms if a.matched == 'compute']
  order = list(dict.fromkeys(a.generator for a in compute))
  found = []
  for matched in ('compute', 'number'):
    for budget in dict.fromkeys(a.budget for a in compute):
      level = [a for a in arms if a.budget == budget and a.matched == matched]
      if matched == 'number':
        controlled = {a.generator for a in level}
        anchor = [a for a in compute if a.budget == budget and a.generator not in controlled]
        level = anchor + level if level else []
      level.sort(key=lambda a: order.index(a.generator))
      for a, b in itertools.combinations(level, 2):
        name = f'{budget} budget' + (', number-matched' if matched == 'number' else '')
        if len(level) > 2:
          name += f': {a.generator} against {b.generator}'
        found.append(Comparison(name, a.name, b.name))
  return found


def _positive(value: object) -> bool:
  return isinstance(value, int) and not isinstance(value, bool) and value > 0
