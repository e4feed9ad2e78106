"""What a learner does on test problems, before fine-tuning and after: completions with their verdicts."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterator
from typing import ClassVar

from sweb_jax import layout
from sweb_jax.models.decoder import Params
from sweb_jax.records import Problem
from sweb_jax.study import verdicts
from sweb_jax.study.collect import Asked, Kept, collect
from sweb_jax.study.context import Context
from sweb_jax.study.models import Models
from sweb_jax.study.problems import Problems
from sweb_jax.study.step import Step
from sweb_jax.study.work import Assumed, Work


@dataclasses.dataclass(frozen=True, eq=False, kw_only=True)
class Scores(Step):
  """One learner on one test set: a greedy completion of every problem, and `votes` at temperature."""

  kind: ClassVar[str] = 'scores'
  stage: ClassVar[str] = 'evaluate'

  test: str
  """`layout.TEST`, or the name of a further test set."""
  learner: str
  trained: Models | None
  """None: before fine-tuning."""
  problems: Problems
  votes: int = 0

  @property
  def folder(self) -> str:
    run = self.trained.run_name if self.trained else layout.BASE
    return layout.scores(self.test, self.problems.question_set, self.learner, run)

  @property
  def inputs(self) -> tuple[Step, ...]:
    return (self.problems, *([self.trained] if self.trained else []))

  @property
  def items(self) -> int:
    return self.problems.count * (1 + self.votes)

  def estimate(self, assumed: Assumed) -> Iterator[Work]:
    kind = 'evaluate' if self.test == layout.TEST else 'transfer'
    yield assumed.drawing(kind, self.learner, self.problems.count, self.items, few_shot=self.trained is None)

  def run(self, context: Context) -> None:
    """Draws and grades what is missing of the checkpoint that was chosen; others that were chosen before stay."""
    problems = context.problems(self.problems.folder, self.problems.count)
    params = None
    if self.trained:
      chosen = context.root / self.trained.chosen(context.root)
      params = context.trained_params(self.learner, chosen, self.settings['sampling.dtype'])
    folder = self.checkpoint(context)
    for name, count in ((layout.GREEDY, 1), (layout.DRAWN, self.votes)):
      if count:
        self._answer(context, f'{folder}/{name}', problems, count, params, greedy=name == layout.GREEDY)

  def checkpoint(self, context: Context) -> str:
    """Below which folder the completions of the chosen checkpoint are."""
    if not self.trained:
      return f'{self.folder}/{layout.BASE}'
    return f'{self.folder}/{layout.rate(self.trained.selected(context.root))}'

  def _answer(
    self, context: Context, folder: str, problems: list[Problem], count: int, params: Params | None, *, greedy: bool
  ) -> None:
    s, task = self.settings, context.tasks[self.problems.split]
    few_shot = s['sampling.few_shot'] and params is None
    renderer = context.renderer(self.learner, s['chat'][self.learner], task.few_shot() if few_shot else '')
    stop_strings = task.stop_strings if few_shot else task.zero_shot_stop_strings
    asked = Asked(
      self.learner,
      self.learner,
      self.problems.question_set,
      s['seed'] + self.problems.question_set,
      renderer,
      s['sampling.max_new_tokens'],
      s['sampling.dtype'],
      *((0.0, 0, 1.0) if greedy else (s['sampling.temperature'], s['sampling.top_k'], s['sampling.top_p'])),
      stop_strings if params is None else (),  # A fine-tuned model ends by itself.
    )
    prompts = context.prompts(renderer, task, problems)
    kept = Kept(context.root / folder, context.read(renderer, prompts), kind='evaluation')
    wanted = [(p.id, i) for p in problems for i in range(count)]
    samples = collect(context, asked, kept, prompts, wanted, params=params)
    opinion = self.extent['grading.second_opinion']
    verdicts.extend(context, context.root / folder, task, problems, samples, count, opinion)
