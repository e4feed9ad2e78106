"""The arms of a config: what is trained on, what each is expected to hold, and which stand side by side."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping, Sequence

from ml_collections import ConfigDict
from rich.table import Table

from sweb_jax import budget
from sweb_jax.answers import judge
from sweb_jax.budget import Arm, Comparison, Cost, Policy
from sweb_jax.config import ConfigError, rules_of, samples_a_request
from sweb_jax.models.decoder import Decoder


@dataclasses.dataclass(frozen=True)
class Arms:
  """Of one question set; all sets are alike."""

  all: tuple[Arm, ...]
  """Later rounds' after those of the first."""
  comparisons: tuple[Comparison, ...]
  policies: Mapping[str, Policy]
  costs: Mapping[str, Cost]
  """By definition."""
  samples: Mapping[str, Mapping[str, int]]
  """Arm -> generator -> samples that it is expected to hold of a set; arms of drawn samples only."""
  planned: Mapping[str, Mapping[str, float]]
  """Arm -> definition of cost -> what it is expected to cost."""

  def whole(self, generator: str) -> int:
    """Samples of every problem that a generator draws before any policy."""
    return max((a.whole for a in self.all if a.generator == generator), default=0)


def arms(config: ConfigDict, shapes: Mapping[str, Decoder]) -> Arms:
  """The arms of a config.

  Args:
    config: valid.
    shapes: model -> architecture.

  Raises:
    BudgetError: arms that cannot be matched, or a budget that pays for nothing; the message names it.
    ConfigError: a filter, judge or round that the arms cannot have.
  """
  named = dict.fromkeys((*config.generators, *((config.judge.model,) if _judged(config) else ())))
  named = {g: g for g in named} | {
    round_name(learner, number): learner for number in range(2, config.rounds + 1) for learner in _drawing(config)
  }
  # A learner that draws in a later round costs what the model itself does.
  costs = budget.costs(
    config.cost.name,
    {g: shapes[model] for g, model in named.items()},
    prices={g: price for g, model in named.items() if (price := config.cost.prices.get(model)) is not None},
    seconds={g: time for g, model in named.items() if (time := config.cost.seconds.get(model)) is not None},
  )
  budgets = {name: dict(b) for name, b in config.budgets.items()}
  policies = budget.policies({n: p.to_dict() for n, p in config.policies.items()}, config.generators)
  first = _first_round(config, shapes, budgets, policies, costs)
  if shared := [a.name for a in first if a.policy and by_judge(config, a)]:
    why = f'arm {shared[0]!r} has a policy, which decides by right answers as it draws; name another filter'
    raise ConfigError(f"config.data.filter='judge': {why}")
  if config.judge.model:
    judge.worked_examples(config.task.answer or config.task.name, gold=config.judge.gold)
  later = _later_rounds(config, first)
  samples = {a.name: _planned_samples(config, a, budgets, policies, costs) for a in first if a.budget}
  planned = {
    arm: {name: _planned_cost(config, costs, name, held) for name in costs} for arm, held in samples.items()
  }
  uniform = [name for name, p in policies.items() if isinstance(p, budget.Uniform)]
  return Arms((*first, *later), tuple(budget.comparisons(first, uniform)), policies, costs, samples, planned)


def by_judge(config: ConfigDict, arm: Arm) -> bool:
  """Whether an arm keeps what a judge says is right."""
  return arm.budget is not None and rules_of(config, arm.variant)['filter'] == 'judge'


def cost_table(arms: Arms) -> Table:
  """What each arm is expected to cost on a question set, under every definition."""
  table = Table(title='An arm of a question set under every definition of cost')
  for column in ('arm', 'samples', *(f'{name}, {cost.unit}' for name, cost in arms.costs.items())):
    table.add_column(column, justify='left' if column == 'arm' else 'right')
  for arm, samples in arms.samples.items():
    held = ' + '.join(f'{n:,} {g}' for g, n in samples.items())
    table.add_row(arm, held, *(f'{cost:.3e}' for cost in arms.planned[arm].values()))
  return table


def _judged(config: ConfigDict) -> bool:
  return any(rules_of(config, variant)['filter'] == 'judge' for variant in (None, *config.variants))


def _first_round(
  config: ConfigDict,
  shapes: Mapping[str, Decoder],
  budgets: Mapping[str, Mapping[str, float]],
  policies: Mapping[str, Policy],
  costs: Mapping[str, Cost],
) -> Sequence[Arm]:
  if not config.generators:
    return [Arm(budget.GOLD, None, None, None, None)] if config.gold else []
  found = budget.match_arms(
    budgets,
    {g: shapes[g].active_parameters for g in config.generators},
    number_matched=config.number_matched,
    gold=config.gold,
    typical=_expected(config, costs[config.cost.name]),
    unit=budget.UNITS[config.cost.name],
    exact=config.cost.exact_ratio,
    policies=policies,
    variants={name: v.get('budgets') or tuple(budgets) for name, v in config.variants.items()},
  )
  return [_with_fewer(config, arm) for arm in found]


def _with_fewer(config: ConfigDict, arm: Arm) -> Arm:
  """An arm of recorded samples of which a problem may have fewer, where the config allows it."""
  if not arm.samples or not config.recorded.get(arm.generator, {}).get('allow_fewer'):
    return arm
  field = f'config.recorded.{arm.generator}.allow_fewer'
  if arm.variant:
    why = f'arm {arm.name!r} is a variant, which needs as many samples of every problem'
    raise ConfigError(f'{field}: {why}; set it to False')
  if config.policies and arm.generator in config.budgets[arm.budget]:
    why = f'policies spend what {arm.name!r} costs, which has to have as many samples of every problem'
    raise ConfigError(f'{field}: {why}; set it to False, or give the budget {arm.budget!r} as an amount')
  return dataclasses.replace(arm, policy='uniform', fewer=True)


def _later_rounds(config: ConfigDict, first: Sequence[Arm]) -> list[Arm]:
  """The arms of round 2 and later: what the learners draw that were trained in the round before.

  Under the rule 'self' each learner draws for itself; else the learner that is named draws for all.
  """
  if config.rounds == 1:
    return []
  origin = next((a for a in first if a.name == config.round.arm), None)
  if origin is None or origin.budget is None or origin.policy is not None:
    names = ', '.join(a.name for a in first if a.budget and not a.policy)
    raise ConfigError(f'config.round.arm={config.round.arm!r}: name the arm that later rounds go on from, of {names}')
  counts = config.round.samples or (origin.whole,) * (config.rounds - 1)
  return [
    dataclasses.replace(
      origin,
      name=round_name(learner, number),
      generator=round_name(learner, number),
      samples=counts[number - 2],
      matched='round',
      round=number,
      learner=learner if config.round.by == 'self' else None,
    )
    for number in range(2, config.rounds + 1)
    for learner in _drawing(config)
  ]


def _drawing(config: ConfigDict) -> tuple[str, ...]:
  """The learners that draw in later rounds."""
  return tuple(config.learners) if config.round.by == 'self' else (config.round.by,)


def round_name(learner: str, number: int) -> str:
  """What a learner is called as the generator of a later round, and what it draws as an arm."""
  return f'{learner}.round{number}'


def _expected(config: ConfigDict, cost: Cost) -> dict[str, budget.Typical]:
  """Generator -> what a sample is expected to cost."""
  e = config.estimate
  few_shot = e.few_shot_tokens if config.sampling.few_shot else 0

  def one(g: str) -> budget.Typical:
    prompts = budget.Prompts(few_shot, e.prompt_tokens, config.cost.share_prefix, samples_a_request(config, g))
    return budget.typical(cost, (g,), prompts, e.completion_tokens, config.task.train)[g]

  return {g: one(g) for g in config.generators}


def _planned_samples(
  config: ConfigDict,
  arm: Arm,
  budgets: Mapping[str, Mapping[str, float]],
  policies: Mapping[str, Policy],
  costs: Mapping[str, Cost],
) -> dict[str, int]:
  """Generator -> samples an arm of a set is expected to hold. Raises BudgetError where a policy cannot use one."""
  expected, problems = _expected(config, costs[config.cost.name]), config.task.train
  amount = budget.planned_amount(budgets[arm.budget], expected, problems)
  samples = budget.planned_samples(arm, policies.get(arm.policy), amount, expected, problems)
  if unused := [g for g, n in samples.items() if not n]:
    raise budget.BudgetError(
      f'arm {arm.name!r}: budget {arm.budget!r} leaves nothing for a sample of {unused[0]!r}; raise it, or lower '
      'what the policy spends before'
    )
  return samples


def _planned_cost(config: ConfigDict, costs: Mapping[str, Cost], cost: str, samples: Mapping[str, int]) -> float:
  expected, problems = _expected(config, costs[cost]), config.task.train
  return sum(n * expected[g].draw + min(n, problems) * expected[g].read for g, n in samples.items())
