"""The list of a study's steps as its workdir keeps it, for reports and other readers."""

from __future__ import annotations

import dataclasses

from sweb_jax import analysis
from sweb_jax.study import estimate
from sweb_jax.study.arms import by_judge
from sweb_jax.study.endpoint import EndpointModel
from sweb_jax.study.opened import Study
from sweb_jax.study.recorded import RecordedModel
from sweb_jax.study.step import as_json
from sweb_jax.study.work import Assumed
from sweb_jax.tasks.rendering import Renderer


def elsewhere(study: Study) -> list[str]:
  """A line a generator whose samples are not made here: what they are, and that no seed makes them again."""
  lines = []
  for name in study.config.generators:
    model = study.variants[name][0]
    if isinstance(model, EndpointModel):
      lines.append(f'{name} is {model.identity!r} at {model.url}: its samples cannot be made again from a seed.')
    elif isinstance(model, RecordedModel):
      lines.append(f'{name} is recorded, in {model.recording.source}: its samples cannot be made again from a seed.')
  return lines


def describe(study: Study, assumed: Assumed) -> analysis.Study:
  """What a report needs to know."""
  c, arms = study.config, study.graph.arms
  later = {a.generator: a.generator.rpartition('.round')[0] for a in arms.all if a.round > 1}
  models = {name: name for name in study.variants} | later
  priced = next(iter(arms.costs.values()))
  stop_ids = {}
  for name, m in models.items():
    if tokenizer := study.variants[m][0].tokenizer:
      stop_ids[name] = Renderer(tokenizer, chat=m in c.chat).stop_ids
  return analysis.Study(
    name=c.name,
    made_world=c.task.made_world,
    question_sets=tuple(range(c.question_sets)),
    generators=(*c.generators, *later),
    learners=tuple(c.learners),
    parameters={name: study.parameters[m] for name, m in models.items()},
    arms=arms.all,
    comparisons=arms.comparisons,
    maj_k=tuple(c.evaluate.maj_k),
    steps=tuple(
      analysis.Listed(s.folder, s.kind, s.stage, s.version, as_json(s.extent), tuple(estimate.rows(s, assumed)))
      for s in study.graph.steps
    ),
    cost=c.cost.name,
    costs={arm: dict(by) for arm, by in arms.planned.items()},
    shapes={g: dataclasses.asdict(shape) for g, shape in priced.shapes.items()},
    implementations={name: study.variants[m][0].config.implementation for name, m in models.items()},
    prices=dict(priced.prices),
    seconds=dict(priced.seconds),
    share_prefix=c.cost.share_prefix,
    stop_ids=stop_ids,
    seeds=c.train.seeds,
    rounds_from=c.round.arm if c.rounds > 1 else '',
    judge=c.judge.model,
    judged=tuple(a.name for a in arms.all if by_judge(c, a)),
    tests={name: test.task for name, test in c.transfer.items()},
    elsewhere=tuple(elsewhere(study)),
  )


