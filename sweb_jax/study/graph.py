"""A config as the ordered list of steps of its study: the only place that says which steps there are.

    problems -> samples -> verdicts -> examples -> models -> scores -> report

Loops over sets, arms, learners, seeds and rounds are Python loops. Everything else that speaks of steps (the plan, the
runner, what is missing, the report) reads this list.
"""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Iterator, Mapping
from typing import Any

from ml_collections import ConfigDict

from sweb_jax import budget, layout, tasks
from sweb_jax.budget import Arm
from sweb_jax.config import RECORDED, elsewhere, rules_of, steps_of, transfer_task
from sweb_jax.models.decoder import Decoder
from sweb_jax.study import STAGES
from sweb_jax.study import arms as arms_lib
from sweb_jax.study.allocation import Allocation, Anchor
from sweb_jax.study.arms import Arms
from sweb_jax.study.examples import Examples
from sweb_jax.study.fields import settings
from sweb_jax.study.models import Models
from sweb_jax.study.opinions import Opinions
from sweb_jax.study.problems import Problems
from sweb_jax.study.report import Report
from sweb_jax.study.samples import Samples
from sweb_jax.study.scores import Scores
from sweb_jax.study.step import Step
from sweb_jax.study.verdicts import Verdicts


@dataclasses.dataclass(frozen=True)
class Graph:
  """The steps of a study, each after those it reads."""

  steps: tuple[Step, ...]
  arms: Arms


def graph(config: ConfigDict, shapes: Mapping[str, Decoder], identities: Mapping[str, tuple[str, ...]]) -> Graph:
  """The steps of a config.

  Args:
    config: valid.
    shapes: model -> architecture.
    identities: model -> identity of the files of each of its variants.

  Raises:
    BudgetError, ConfigError, JudgeError: arms that cannot be had; the message names the field.
  """
  arms = arms_lib.arms(config, shapes)
  build = _Builder(config, arms, identities)
  steps = [step for s in range(config.question_sets) for step in build.question_set(s)]
  rounds: dict[str, int] = {}
  for step in steps:
    before = max((rounds[i.folder] for i in step.inputs), default=1)
    rounds[step.folder] = before + (isinstance(step, Samples) and step.trained is not None)
  # Within a round by stage, and within a stage as they are, which is an order in which they can be done.
  steps.sort(key=lambda step: (rounds[step.folder], STAGES.index(step.stage)))
  said = {name: value for name, value in config.to_dict().items() if name not in ('mesh', 'engine')}
  return Graph((*steps, Report(settings=said, steps=tuple(steps))), arms)


@dataclasses.dataclass(frozen=True)
class _Builder:
  """Turns fields of the config into steps."""

  config: ConfigDict
  arms: Arms
  identities: Mapping[str, tuple[str, ...]]

  def question_set(self, s: int) -> Iterator[Step]:
    """The steps of a question set."""
    c = self.config
    problems = {split: self._problems(s, split) for split in self._splits()}
    yield from problems.values()
    graded: dict[str, Verdicts] = {}
    for g in c.generators:
      if count := self.arms.whole(g):
        yield from self._generator(problems['train'], g, g, None, count, graded)
    opinions = yield from self._opinions(graded)
    trained: dict[tuple[str, str], Models] = {}
    examples: dict[str, Examples] = {}
    for arm in self.arms.all:
      if arm.round > 1:
        learner = arm.generator.rpartition('.round')[0]
        before = c.round.arm if arm.round == 2 else arms_lib.round_name(learner, arm.round - 1)
        source = trained[learner, before]
        yield from self._generator(problems['train'], arm.generator, learner, source, arm.whole, graded)
        opinions |= yield from self._opinions({arm.generator: graded[arm.generator]})
      earlier = examples.get(before) if arm.round > 1 and c.round.keep else None
      where = graded.get(arm.generator)
      if arm.policy:
        yield (where := self._allocation(problems['train'], arm, graded))
      judge = opinions.get(arm.generator) if arms_lib.by_judge(c, arm) else None
      yield (made := self._examples(s, arm, problems['train'], where, judge, earlier))
      examples[arm.name] = made
      for learner in self._trained_on(arm):
        for r in range(c.train.seeds):
          yield (model := self._model(s, learner, arm, made, problems['validation'], r))
          trained.setdefault((learner, arm.name), model)
          yield from self._scores(learner, model, problems)
    for learner in c.learners:
      yield from self._scores(learner, None, problems)

  def _splits(self) -> tuple[str, ...]:
    """Training problems are needed where something is trained on, validation problems with them."""
    own = tasks.SPLITS if self.arms.all else (layout.TEST,)
    return (*own, *(layout.transfer(name) for name in self.config.transfer))

  def _problems(self, s: int, split: str) -> Problems:
    c = self.config
    own, count = {}, c.task.get(split, 0)
    for name in c.transfer:
      if split == layout.transfer(name):
        task = transfer_task(c, name)
        fields = ('name', 'levels', 'template', 'fields', 'answer', 'shots')
        own, count = {f'task__{field}': task[field] for field in fields}, task['test']
    fields = settings(c, 'problems', **own)
    return Problems(settings=fields, extent={'problems': count}, question_set=s, split=split, count=count)

  def _generator(
    self, problems: Problems, name: str, model: str, trained: Models | None, count: int, graded: dict[str, Verdicts]
  ) -> Iterator[Step]:
    """What a generator draws, and the verdicts, which are added to `graded`."""
    c = self.config
    zero_shot = {} if trained is None else {'sampling__few_shot': False}
    # Among more learning rates another model may be the best, and that one draws other samples.
    chosen = {} if trained is None else {'train.learning_rates': trained.learning_rates}
    fields = settings(c, 'samples', **self._asked(model), **self._recorded(model), **zero_shot) | chosen
    samples = Samples(
      # What was recorded elsewhere is what it is, whatever this study's generators are asked.
      settings=self._recorded(model) if elsewhere(c.models[model]) == RECORDED else fields,
      extent={'problems': problems.count, 'samples': count},
      identities={} if trained else self._identity(model, problems.question_set),
      question_set=problems.question_set,
      generator=name,
      model=model,
      trained=trained,
      problems=problems,
      count=count,
    )
    yield samples
    extent = samples.extent | {'grading.second_opinion': c.grading.second_opinion}
    graded[name] = Verdicts(settings=settings(c, 'verdicts'), extent=extent, samples=samples)
    yield graded[name]

  def _opinions(self, graded: Mapping[str, Verdicts]) -> Iterator[Step]:
    """Yields a judge's steps; returns generator -> those that filter."""
    c, found = self.config, {}
    if not c.judge.model:
      return found
    for g, verdicts in graded.items():
      blind = max((a.whole for a in self.arms.all if a.generator == g and arms_lib.by_judge(c, a)), default=0)
      for of, count in ((layout.KEPT, verdicts.samples.count if c.judge.samples else 0), (layout.ALL, blind)):
        if not count:
          continue
        kept = of == layout.KEPT
        step = Opinions(
          settings=settings(c, 'opinions', **self._asked(c.judge.model), **({} if kept else {'judge__gold': False})),
          extent={'problems': verdicts.samples.problems.count, 'samples': count}
          | ({'judge.samples': c.judge.samples} if kept else {}),
          identities=self._identity(c.judge.model, verdicts.samples.question_set),
          verdicts=verdicts,
          of=of,
          model=c.judge.model,
          task=c.task.answer or c.task.name,
          count=count,
          most=c.judge.samples,
        )
        yield step
        if not kept:
          found[g] = step
    return found

  def _allocation(self, problems: Problems, arm: Arm, graded: Mapping[str, Verdicts]) -> Allocation:
    """After the samples it may use, and those whose spending it equals."""
    c = self.config
    policy = self.arms.policies.get(arm.policy) or budget.Uniform((arm.generator,))
    ((anchor, amount),) = c.budgets[arm.budget].items()
    whole = {g: graded[g] for g in policy.generators if g in graded}
    if arm.samples is not None:
      amount = self.arms.samples[arm.name][arm.generator]
    elif anchor in c.generators:
      (of,) = (a for a in self.arms.all if (a.generator, a.budget, a.matched) == (anchor, arm.budget, 'compute'))
      amount = Anchor(graded[anchor], of.whole)
    spec = {'kind': type(policy).__name__} | dataclasses.asdict(policy)
    given = {'samples of': anchor, 'a problem': amount.count} if isinstance(amount, Anchor) else amount
    asked, recorded = self._asked(*policy.generators), self._recorded(*policy.generators)
    charged = dict.fromkeys((*policy.generators, *([anchor] if isinstance(amount, Anchor) else [])))
    priced = {
      f'cost__{table}': {g: c.cost[table].get(g) for g in charged} if c.cost.name == unit else None
      for table, unit in (('prices', 'price'), ('seconds', 'seconds'))
    }
    beyond = {g: n - arm.whole * c.task.train for g, n in self.arms.samples[arm.name].items()}
    return Allocation(
      settings=settings(c, 'allocations', policies=spec | {'budget': given}, **asked, **priced, **recorded),
      identities={g: self._identity(g, problems.question_set)[g] for g in policy.generators},
      question_set=problems.question_set,
      arm=arm.name,
      policy=policy,
      amount=amount,
      counted=arm.samples is not None,
      problems=problems,
      whole=whole,
      expected=beyond,
      most=math.ceil(arm.samples) if arm.fewer else None,
    )

  def _examples(
    self,
    s: int,
    arm: Arm,
    problems: Problems,
    graded: Verdicts | Allocation | None,
    opinions: Opinions | None,
    earlier: Examples | None,
  ) -> Examples:
    c = self.config
    rules = {f'data__{name}': value for name, value in rules_of(c, arm.variant).items()}
    rules['round__keep'] = earlier is not None
    fields = settings(c, 'examples', **(rules if arm.budget else {}))
    if arm.budget is None:  # Solutions by people are taken as they are.
      fields = {name: value for name, value in fields.items() if name == 'task.train'}
    paid_by = 'round.samples' if arm.round > 1 and c.round.samples else 'budgets'
    return Examples(
      settings=fields | {f'{paid_by} (samples a problem)': arm.samples},
      question_set=s,
      arm=arm,
      problems=problems,
      graded=graded,
      opinions=opinions,
      earlier=earlier,
      learners={learner: learner in c.chat for learner in self._trained_on(arm)},
    )

  def _trained_on(self, arm: Arm) -> tuple[str, ...]:
    """The learners that are trained on an arm."""
    return tuple(self.config.learners) if arm.learner is None else (arm.learner,)

  def _model(
    self, s: int, learner: str, arm: Arm, examples: Examples, validation: Problems, repeat: int
  ) -> Models:
    c = self.config
    own = {
      'train__batch': c.train.batches.get(learner, c.train.batch),
      'train__batches': c.train.batches.get(learner, 0),
      'train__steps': steps_of(c, learner, arm.budget or arm.name),
    }
    rates = tuple(sorted(c.train.learning_rates))
    return Models(
      settings=settings(c, 'models', **own, **self._asked(learner)),
      extent={'train.learning_rates': rates},
      identities=self._identity(learner, s),
      learner=learner,
      examples=examples,
      validation=validation,
      repeat=repeat,
      learning_rates=rates,
    )

  def _scores(self, learner: str, trained: Models | None, problems: Mapping[str, Problems]) -> Iterator[Scores]:
    c = self.config
    for test in (layout.TEST, *c.transfer):
      of = problems[layout.TEST if test == layout.TEST else layout.transfer(test)]
      votes = max(c.evaluate.maj_k, default=0) if test == layout.TEST else 0
      extent = {'problems': of.count, 'votes': votes, 'grading.second_opinion': c.grading.second_opinion}
      base = {} if trained else self._identity(learner, of.question_set)
      yield Scores(
        settings=settings(c, 'scores', **self._asked(learner), **({'sampling__few_shot': False} if trained else {})),
        extent=extent | (dict(trained.extent) if trained else {}),
        identities=base,
        test=test,
        learner=learner,
        trained=trained,
        problems=of,
        votes=votes,
      )

  def _asked(self, *models: str) -> dict[str, Any]:
    """How models are computed and asked, of the fields with an entry for each model."""
    own = {model: self.config.implementations.get(model) for model in models}
    chat = {model: model in self.config.chat for model in models}
    return {'chat': chat, 'implementations': own}

  def _recorded(self, *models: str) -> dict[str, Any]:
    """How the samples of models were recorded, as far as it decides on what they are."""
    said = self.config.recorded.to_dict()
    found = {m: {f: said[m][f] for f in ('fields', 'tokenizer', 'n') if f in said[m]} for m in models if m in said}
    return {'recorded': found}

  def _identity(self, model: str, s: int) -> dict[str, str]:
    """The files of the variant that a question set takes."""
    variants = self.identities[model]
    return {model: variants[s % len(variants)]}
