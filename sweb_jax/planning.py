"""What a study is going to do, before any of it is done: its arms, what they hold and cost, and its jobs' sizes."""

from __future__ import annotations

import dataclasses
import itertools
from collections.abc import Mapping
from typing import Any

from ml_collections import ConfigDict
from rich.console import Console
from rich.table import Table

from sweb_jax import budget, fine_tuning, judging
from sweb_jax.jobs import Jobs


class Plan:
  """The arms of a config, and estimates by its `estimate` fields.

  Args:
    config: the study's.
    jobs: the models and what they cost.
    transfer: further test sets, and their numbers of problems.

  Raises:
    BudgetError: arms that cannot be matched, or a budget that pays for nothing; the message names it.
    ConfigError: a judge that the arms cannot have.
  """

  def __init__(self, config: ConfigDict, jobs: Jobs, transfer: Mapping[str, int]):
    self._config, self._jobs, self._transfer = config, jobs, transfer
    self._parameters = {name: model.config.parameters for name, model in jobs.models.items()}
    self.budgets = {name: dict(b) for name, b in config.budgets.items()}
    self.policies = budget.policies({n: p.to_dict() for n, p in config.policies.items()}, config.generators)
    self.arms = budget.match_arms(
      self.budgets,
      {g: self._parameters[g] for g in config.generators},
      number_matched=config.number_matched,
      gold=config.gold,
      typical=self._expected(config.cost.name),
      unit=budget.UNITS[config.cost.name],
      exact=config.cost.exact_ratio,
      policies=self.policies,
      variants={name: v.get('budgets') or tuple(self.budgets) for name, v in config.variants.items()},
    )
    judging.check(config, self.arms)
    self.samples = {a.name: self._planned_samples(a) for a in self.arms if a.budget}
    """Arm to generator to the samples that it is expected to hold of a question set."""
    self._planned = self._plan()

  def show(self, console: Console) -> None:
    """The plan as a table: a line a kind and model, and the total.

    Under `config.train.epochs` trainings are as long as they will be where their examples are in the workdir, and as
    long as they may be where not; says so.
    """
    table = Table(title=f'Plan of {self._config.name!r}: {len(self._planned)} jobs')
    for column in ('kind', 'model', 'jobs', 'samples', 'tokens', 'FLOPs', 'share of budget', 'minutes'):
      table.add_column(column, justify='left' if column in ('kind', 'model') else 'right')
    groups: dict[tuple[str, str], list[budget.PlannedJob]] = {}
    known = self._known()
    planned = [_with_samples(job, known[job.name]) if job.name in known else job for job in self._planned]
    for job in planned:
      groups.setdefault((job.kind, job.model), []).append(job)
    groups['all', ''] = planned
    for (kind, model), jobs in groups.items():
      shares = [j.share for j in jobs if j.share is not None]
      table.add_row(
        kind,
        model,
        str(len(jobs)),
        f'{sum(j.samples for j in jobs):,}',
        f'{sum(j.tokens for j in jobs):,}',
        f'{sum(j.flops for j in jobs):.2e}',
        f'{sum(shares):.1%}' if shares else '',
        f'{sum(j.seconds for j in jobs) / 60:.1f}',
      )
    console.print(table)
    if self._config.train.epochs:
      trainings = sum(job.kind == 'train' for job in planned)
      console.print(f'Epochs: {len(known)} of {trainings} trainings are counted by their examples, the others at most.')
    counted = (f' ({a.samples:.4g} a problem)' if a.samples else '' for a in self.arms)
    console.print('Arms: ' + ', '.join(a.name + count for a, count in zip(self.arms, counted, strict=True)))
    console.print(self._cost_table())

  def to_json(self) -> dict[str, Any]:
    """What the report needs to know of the study."""
    c = self._config
    uniform = [name for name, p in self.policies.items() if isinstance(p, budget.Uniform)]
    return {
      'name': c.name,
      'made_world': c.task.made_world,
      'question_sets': list(range(c.question_sets)),
      'seeds': c.train.seeds,
      'generators': list(c.generators),
      'learners': list(c.learners),
      'models': {
        name: {'parameters': n, 'shape': dataclasses.asdict(m.config)}
        | ({'stop_ids': list(self._jobs.renderer(name, False).stop_ids)} if m.tokenizer else {})
        for name, n in self._parameters.items()
        for m in [self._jobs.models[name]]
      },
      'arms': [dataclasses.asdict(a) for a in self.arms],
      'comparisons': [dataclasses.asdict(p) for p in budget.comparisons(self.arms, uniform)],
      'maj_k': list(c.evaluate.maj_k),
      'cost': {'name': c.cost.name, 'unit': budget.UNITS[c.cost.name]},
      'costs': {
        arm: {name: self._planned_cost(name, samples) for name in self._jobs.costs}
        for arm, samples in self.samples.items()
      },
      'jobs': [{k: v for k, v in dataclasses.asdict(j).items() if k != 'seconds'} for j in self._planned],
    }

  def whole(self, generator: str) -> int:
    """Samples of every problem that a generator draws before any policy."""
    return max((a.whole for a in self.arms if a.generator == generator), default=0)

  # --------------------------------------------------------------------------------------------------------------------

  def _known(self) -> dict[str, int]:
    """Training to the examples it will see, where `epochs` counts an arm's own and they are in the workdir."""
    c, found = self._config, {}
    if not c.train.epochs:
      return found
    for s, learner, arm in itertools.product(range(c.question_sets), c.learners, self.arms):
      if steps := fine_tuning.steps(self._jobs, s, learner, arm):
        seen = len(c.train.learning_rates) * steps * c.train.batches.get(learner, c.train.batch)
        runs = (budget.run_name(arm.name, r) for r in range(c.train.seeds))
        found |= {f'train/set{s}/{learner}/{run}': seen for run in runs}
    return found

  def _cost_table(self) -> Table:
    """What each arm is expected to cost on a question set, under every definition."""
    costs = self._jobs.costs
    table = Table(title='An arm of a question set under every definition of cost')
    for column in ('arm', 'samples', *(f'{name}, {cost.unit}' for name, cost in costs.items())):
      table.add_column(column, justify='left' if column == 'arm' else 'right')
    for arm, samples in self.samples.items():
      table.add_row(
        arm,
        ' + '.join(f'{n:,} {g}' for g, n in samples.items()),
        *(f'{self._planned_cost(name, samples):.3e}' for name in costs),
      )
    return table

  def _expected(self, cost: str) -> dict[str, budget.Typical]:
    """Generator -> what a sample is expected to cost."""
    c, e = self._config, self._config.estimate
    few_shot = e.few_shot_tokens if c.sampling.few_shot else 0
    prompts = budget.Prompts(few_shot, e.prompt_tokens, c.cost.share_prefix)
    return budget.typical(self._jobs.costs[cost], c.generators, prompts, e.completion_tokens, c.task.train)

  def _planned_samples(self, arm: budget.Arm) -> dict[str, int]:
    """Generator -> samples an arm of a set is expected to hold. Raises BudgetError where a policy cannot use one."""
    expected, problems = self._expected(self._config.cost.name), self._config.task.train
    amount = budget.planned_amount(self.budgets[arm.budget], expected, problems)
    samples = budget.planned_samples(arm, self.policies.get(arm.policy), amount, expected, problems)
    if unused := [g for g, n in samples.items() if not n]:
      raise budget.BudgetError(
        f'arm {arm.name!r}: budget {arm.budget!r} leaves nothing for a sample of {unused[0]!r}; raise it, or lower '
        'what the policy spends before'
      )
    return samples

  def _planned_cost(self, cost: str, samples: Mapping[str, int]) -> float:
    expected, problems = self._expected(cost), self._config.task.train
    return sum(n * expected[g].draw + min(n, problems) * expected[g].read for g, n in samples.items())

  def _plan(self) -> list[budget.PlannedJob]:
    c, e = self._config, self._config.estimate
    return budget.plan(
      sets=c.question_sets,
      arms=self.arms,
      generators={g: self._parameters[g] for g in c.generators},
      learners={m: self._parameters[m] for m in c.learners},
      train_problems=c.task.train,
      validation_problems=c.task.validation,
      test_problems=c.task.test,
      completion_tokens=e.completion_tokens,
      prompt_tokens=e.prompt_tokens,
      few_shot_tokens=e.few_shot_tokens if c.sampling.few_shot else 0,
      examples={name: steps * c.train.batch for name, steps in c.train.steps.items()},
      learning_rates=len(c.train.learning_rates),
      checkpoints=c.train.checkpoints,
      drawn=max(c.evaluate.maj_k, default=0),
      sampling_rate=e.sampling_flops,
      training_rate=e.training_flops,
      allocated={a.name: self._beyond(a) for a in self.arms if a.policy},
      seeds=c.train.seeds,
      transfer=self._transfer,
      judged={g: n for g in c.generators if (n := judging.most(c, self.arms, g))},
      judge=(c.judge.model, self._parameters.get(c.judge.model, 0)),
    )

  def _beyond(self, arm: budget.Arm) -> dict[str, int]:
    """What a policy's arm has to draw itself, at most: all, or what is left of its number of samples."""
    return {g: n - arm.whole * self._config.task.train for g, n in self.samples[arm.name].items()}


def _with_samples(job: budget.PlannedJob, samples: int) -> budget.PlannedJob:
  """The job with another number of samples, and all else in proportion."""
  share = samples / job.samples
  return dataclasses.replace(
    job, samples=samples, tokens=round(job.tokens * share), flops=round(job.flops * share), seconds=job.seconds * share
  )
