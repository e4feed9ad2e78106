"""What a generator draws for the training problems, before any policy: so many samples of every problem."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterator, Sequence
from typing import ClassVar

from sweb_jax import layout
from sweb_jax.records import Problem, Sample
from sweb_jax.runtime.by_problem import ByProblem
from sweb_jax.sampling import Store
from sweb_jax.study.collect import Asked, Kept, collect
from sweb_jax.study.context import Context
from sweb_jax.study.problems import Problems
from sweb_jax.study.step import Step, Training
from sweb_jax.study.work import Assumed, Work


@dataclasses.dataclass(frozen=True, eq=False, kw_only=True)
class Samples(Step):
  """The first `count` samples of every problem; arms of smaller budgets hold a prefix of them."""

  kind: ClassVar[str] = 'samples'
  stage: ClassVar[str] = 'sample'

  question_set: int
  generator: str
  """Its name among the study's generators."""
  model: str
  """In `config.models`."""
  trained: Training | None = None
  """The step that trained it, where it is of an earlier round."""
  problems: Problems
  count: int

  @property
  def folder(self) -> str:
    return layout.samples(self.question_set, self.generator)

  @property
  def inputs(self) -> tuple[Step, ...]:
    return (self.problems, *([self.trained] if self.trained else []))

  @property
  def items(self) -> int:
    return self.problems.count * self.count

  def run(self, context: Context) -> None:
    """Draws what is missing; what the folder has is not drawn again."""
    problems = context.problems(self.problems.folder, self.problems.count)
    params = self.trained and context.trained_params(
      self.model, context.root / self.trained.chosen(context.root), self.settings['sampling.dtype']
    )
    wanted = [(p.id, i) for p in problems for i in range(self.count)]
    draw(context, self, self.folder, self.generator, self.model, problems, wanted, params=params)

  def read(self, context: Context, count: int) -> Iterator[list[Sample]]:
    """The first `count` samples of every problem, a problem at a time."""
    ids = [p.id for p in context.problems(self.problems.folder, self.problems.count)]
    for rows in Store(context.root / self.folder).by_problem().read(ids):
      yield [s for s in rows if s.index < count]

  def estimate(self, assumed: Assumed) -> Iterator[Work]:
    yield assumed.drawing('sample', self.model, self.problems.count, self.items, few_shot=self.trained is None)


def draw(
  context: Context,
  step: Step,
  folder: str,
  generator: str,
  model: str,
  problems: Sequence[Problem],
  wanted: Sequence[tuple[str, int]],
  *,
  params=None,
  first: int = 0,
  counted: bool = True,
) -> ByProblem[Sample]:
  """Draws training data as the settings of a step say; returns all that the folder has.

  Args:
    context: the models.
    step: its settings have the sampling rule; `step.question_set`, the set.
    folder: where samples are kept.
    generator: who draws, by the name that decides on the random keys.
    model: in `config.models`.
    problems: training problems.
    wanted: (problem id, index) of each sample.
    params: of a generator that this study trained; it is asked without worked examples.
    first: the lowest index that is kept in the folder.
    counted: a sample moves the stage's meter.
  """
  task, s = context.tasks['train'], step.settings
  few_shot = s['sampling.few_shot'] and params is None
  renderer = context.renderer(model, s['chat'][model], task.few_shot() if few_shot else '')
  stop_strings = task.stop_strings if few_shot else task.zero_shot_stop_strings
  asked = Asked(
    model,
    generator,
    step.question_set,
    s['seed'] + step.question_set,
    renderer,
    s['sampling.max_new_tokens'],
    s['sampling.dtype'],
    s['sampling.temperature'],
    s['sampling.top_k'],
    s['sampling.top_p'],
    () if params is not None else stop_strings,  # A fine-tuned model ends by itself.
  )
  prompts = context.prompts(renderer, task, problems)
  kept = Kept(context.root / folder, context.read(renderer, prompts), first=first, counted=counted)
  # With the same length of the longest prompt, later rounds of a policy compile nothing.
  longest = max(map(len, prompts.values()))
  return collect(context, asked, kept, prompts, wanted, params=params, prompt_length=longest)
