"""From budgets to arms: how many samples a problem each generator draws, and which arms stand side by side.

A budget is given by one generator, the anchor, and its samples a problem; another generator draws as many as cost the
same (paper: S_WC = P_SE / P_WC * S_SE, the ratio rounded to a whole number). Or it is an amount of FLOPs, dollars,
seconds or tokens for the training problems of a question set, which every generator spends.
"""

from __future__ import annotations

import dataclasses
import itertools
import math
from collections.abc import Collection, Mapping, Sequence

from sweb_jax.budget.cost import UNITS, BudgetError, ratio
from sweb_jax.budget.policies import Policy

GOLD = 'gold'
"""Name of the arm of solutions written by people."""


@dataclasses.dataclass(frozen=True)
class Arm:
  """One data set to train on."""

  name: str
  """'{generator}_{budget}'; its number-matched control ends in '_n', a variant in '_{variant}'; or 'gold'."""
  generator: str | None
  """None for solutions written by people, as are the fields below."""
  samples: int | float | None
  """Drawn for each problem: those with index 0 .. samples - 1. Of 2.95, 2 for each, and one more for 95 %.
  None where a policy decides."""
  budget: str | None
  matched: str | None
  """'compute': costs what the anchor's samples cost. 'number': as many samples as the anchor's. 'spending': a policy
  spends what the anchor's samples were charged. 'variant': the samples of a compute-matched arm by other rules.
  'round': drawn by what was trained in the round before."""
  policy: str | None = None
  """Who gets a sample is decided while they are drawn; 'uniform' or a name of the config's policies."""
  variant: str | None = None
  """Which samples become examples is decided by this variant's rules."""
  round: int = 1
  """From 2 on the generator is a model that was trained in the round before."""
  learner: str | None = None
  """The only learner that is trained on it; None: all are."""
  fewer: bool = False
  """A problem may have fewer than `samples`: all that were recorded, where there are no more. Its policy is uniform."""

  @property
  def whole(self) -> int:
    """Samples that every problem has."""
    return 0 if self.fewer else math.floor(self.samples or 0)


@dataclasses.dataclass(frozen=True)
class Typical:
  """What a generator is expected to cost, in one unit for all."""

  draw: float
  """One sample."""
  read: float = 0.0
  """What is read before the samples of a problem."""


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
  ratio(anchor_parameters, parameters)
  return _rounded(anchor_parameters, anchor_samples, parameters)


def _rounded(anchor: float, samples: int, other: float) -> int:
  """The same for what a sample of each costs."""
  if samples < 1:
    raise BudgetError(f'{samples} samples a problem is no budget; it starts at 1')
  if other <= anchor:
    return samples * round(anchor / other)
  return samples // round(other / anchor)


def match_arms(
  budgets: Mapping[str, Mapping[str, float]],
  parameters: Mapping[str, int],
  *,
  number_matched: bool,
  gold: bool,
  typical: Mapping[str, Typical] | None = None,
  unit: str = 'FLOPs',
  exact: bool = False,
  policies: Mapping[str, Policy] | None = None,
  variants: Mapping[str, Collection[str]] | None = None,
) -> list[Arm]:
  """The arms of a study.

    match_arms({'low': {'se': 1}}, {'wc': 9 * 10**9, 'se': 27 * 10**9}, number_matched=True, gold=True)
    -> wc_low (3 samples, 'compute'), se_low (1, 'compute'), wc_low_n (1, 'number'), gold

  Args:
    budgets: budget name -> {anchor: its samples a problem}, one anchor a budget; or {unit: amount}, in lower case:
      {'flops': 1e15}, which is spent uniformly until it ends.
    parameters: generator -> number of parameters.
    number_matched: add, for every generator but the anchor, a control of as many samples as the anchor's.
    gold: add the arm of solutions written by people.
    typical: generator -> what it is expected to cost; without it, a sample costs in proportion to the parameters.
    unit: of `typical` and of an amount.
    exact: the ratio is not rounded: 27B / 9B is 2.946, and 94.6 % of the problems get a third sample.
    policies: name -> policy; each has an arm a budget, '{policy}_{budget}'.
    variants: name -> the budgets it is for; each has an arm, '{arm}_{variant}', beside their compute-matched ones.

  Returns:
    Compute-matched arms by budget, the cheaper generator first, then number-matched ones, then variants', then
    policies', then 'gold'.
    Arms that coincide (wc_low and wc_low_n at a ratio of 1) stay apart by name.

  Raises:
    BudgetError: no generators or budgets, not exactly one anchor, an anchor that is no generator, samples, sizes or
      amounts that are not positive, a budget too small for one sample, a variant of samples that a policy shares
      out, or two arms of one name.
  """
  if not parameters or not budgets:
    raise BudgetError('a study needs at least one generator, with its number of parameters, and one budget')
  for generator, size in parameters.items():
    if not (_positive(size) or (typical and size == 0)):  # 0: not known, and what it costs is said.
      raise BudgetError(f'generator {generator!r}: {size!r} is not a number of parameters')
  typical = typical or {g: Typical(size) for g, size in parameters.items()}
  generators = sorted(parameters, key=lambda g: typical[g].draw)
  compute, number = [], []
  for budget, anchors in budgets.items():
    if len(anchors) != 1:
      raise BudgetError(f'budget {budget!r} must name one anchor generator with its samples, found {list(anchors)}')
    ((anchor, samples),) = anchors.items()
    if anchor not in parameters:
      _check_amount(budget, anchor, samples, unit, parameters, typical)
      compute += [Arm(f'{g}_{budget}', g, None, budget, 'compute', 'uniform') for g in generators]
      continue
    if not _positive(samples):
      raise BudgetError(f'budget {budget!r}: {samples!r} samples of {anchor!r} is not a whole number of at least 1')
    for generator in generators:
      a, g = typical[anchor], typical[generator]
      drawn = (samples * a.draw + a.read - g.read) / g.draw if exact else _rounded(a.draw, samples, g.draw)
      if drawn <= 0 or (not exact and drawn < 1):
        raise BudgetError(
          f'budget {budget!r}: {samples} samples of {anchor!r} are too small for a single sample of {generator!r}'
        )
      whole = abs(drawn - round(drawn)) < 1e-9
      drawn = round(drawn) if whole else drawn
      compute.append(Arm(f'{generator}_{budget}', generator, drawn, budget, 'compute', None if whole else 'uniform'))
      if number_matched and generator != anchor:
        number.append(Arm(f'{generator}_{budget}_n', generator, samples, budget, 'number'))
  chosen = [
    Arm(f'{name}_{budget}', p.generators[0] if len(p.generators) == 1 else None, None, budget, 'spending', name)
    for name, p in (policies or {}).items()
    for budget in budgets
  ]
  other = [_variant(a, name) for name, of in (variants or {}).items() for a in compute if a.budget in of]
  arms = compute + number + other + chosen + ([Arm(GOLD, None, None, None, None)] if gold else [])
  names = [a.name for a in arms]
  if twice := {n for n in names if names.count(n) > 1}:
    raise BudgetError(f'two arms are called {", ".join(sorted(twice))}; rename a generator, policy, variant or budget')
  return arms


def _variant(arm: Arm, name: str) -> Arm:
  """The arm of the same samples by other rules."""
  if arm.policy:
    raise BudgetError(
      f'variant {name!r}: arm {arm.name!r} has not as many samples of every problem; give the budget by an anchor, '
      'with the rounded ratio'
    )
  return dataclasses.replace(arm, name=f'{arm.name}_{name}', matched='variant', variant=name)


def _check_amount(
  budget: str, key: str, amount: object, unit: str, parameters: Mapping[str, int], typical: Mapping[str, Typical]
) -> None:
  """Raises BudgetError unless {key: amount} is a budget in the unit of the costs that pays for a sample of each."""
  if key not in {u.lower() for u in UNITS.values()}:
    raise BudgetError(f'budget {budget!r}: {key!r} is not a generator; generators are {", ".join(parameters)}')
  if key != unit.lower():
    raise BudgetError(f'budget {budget!r} is in {key}, and costs are in {unit}; choose another cost, or give {unit}')
  number = isinstance(amount, int | float) and not isinstance(amount, bool)
  if not (number and 0 < amount < math.inf):
    raise BudgetError(f'budget {budget!r}: {amount!r} {key} is not a positive, finite amount')
  for generator, t in typical.items():
    if amount < t.draw + t.read:
      raise BudgetError(
        f'budget {budget!r}: {amount:g} {key} are too small for a single sample of {generator!r}, '
        f'about {t.draw + t.read:.3g}'
      )


def comparisons(arms: Sequence[Arm], uniform: Collection[str] = ()) -> list[Comparison]:
  """The pairs of generators at one budget: first compute-matched ('low budget'), then 'low budget, number-matched'.

  Then the pairs within each variant ('low budget, one_kept'), and every variant against the arm it comes from. A single
  generator is compared with itself: each arm against those of fewer samples ('wc_high against wc_low').
  Then every policy against the uniform spending of the same budget by the same generator, or by each where it has
  several.

  Args:
    arms: as `match_arms` gives them: the cheaper generator first, which becomes `a`.
    uniform: policies that are uniform. Without one, a policy is compared with the compute-matched arm.

  Returns:
    A comparison for every pair; with more than two generators its name ends in ': wc against se'.
  """
  compute = [a for a in arms if a.matched == 'compute']
  order = list(dict.fromkeys(a.generator for a in compute))
  found = []
  variants = dict.fromkeys(a.variant for a in arms if a.variant)
  for matched, variant in (('compute', None), ('number', None), *(('variant', v) for v in variants)):
    for budget in dict.fromkeys(a.budget for a in compute):
      level = [a for a in arms if a.budget == budget and a.matched == matched and a.variant == variant]
      if matched == 'number':
        controlled = {a.generator for a in level}
        anchor = [a for a in compute if a.budget == budget and a.generator not in controlled]
        level = anchor + level if level else []
      level.sort(key=lambda a: order.index(a.generator))
      for a, b in itertools.combinations(level, 2):
        name = f'{budget} budget' + {'number': ', number-matched', 'variant': f', {variant}'}.get(matched, '')
        if len(level) > 2:
          name += f': {a.generator} against {b.generator}'
        found.append(Comparison(name, a.name, b.name))
  for arm in (a for a in arms if a.variant):
    (of,) = (a for a in compute if (a.generator, a.budget) == (arm.generator, arm.budget))
    found.append(Comparison(f'{arm.budget} budget: {arm.name} against {of.name}', arm.name, of.name))
  if len(order) == 1:
    for arm in (a for a in arms if a.matched in ('compute', 'variant')):
      for other in (a for a in compute if (a.samples or 0) < (arm.samples or 0)):
        found.append(Comparison(f'{arm.name} against {other.name}', arm.name, other.name))
  chosen = [a for a in arms if a.matched == 'spending']
  for arm in (a for a in chosen if a.policy not in uniform):
    level = [a for a in chosen if a.budget == arm.budget and a.policy in uniform]
    level = level or [a for a in compute if a.budget == arm.budget]
    for other in [a for a in level if arm.generator in (None, a.generator)] or level[-1:]:
      found.append(Comparison(f'{arm.budget} budget: {arm.policy} against {other.name}', arm.name, other.name))
  return found


def _positive(value: object) -> bool:
  return isinstance(value, int) and not isinstance(value, bool) and value > 0
