"""What a generator draws for the training problems, before any policy: so many samples of every problem."""

from __future__ import annotations

import dataclasses
import functools
from collections.abc import Iterator, Mapping, Sequence
from typing import ClassVar

from etils import epath

from sweb_jax import layout
from sweb_jax.budget import Prompts, by_model, dollars, read_prompts
from sweb_jax.budget import read as read_ledgers
from sweb_jax.records import Problem, Sample
from sweb_jax.runtime.by_problem import ByProblem
from sweb_jax.sampling import Store
from sweb_jax.sampling.endpoint import EndpointError
from sweb_jax.study import endpoint, recorded
from sweb_jax.study.collect import Asked, Kept, collect, keep, write_prompts
from sweb_jax.study.context import Context
from sweb_jax.study.endpoint import EndpointModel
from sweb_jax.study.problems import Problems
from sweb_jax.study.recorded import RecordedModel
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
  of, task, s = context.variant(model, step.question_set), context.tasks['train'], step.settings
  if isinstance(of, RecordedModel):
    read = recorded.prompts(of, task, problems, context.share_prefix)
    kept = Kept(context.root / folder, read, first=first, counted=counted)
    source = functools.partial(recorded.take, of, task, problems)
    return keep(context, kept, generator, wanted, source, all_there=False, elsewhere=True)
  few_shot = s['sampling.few_shot'] and params is None
  examples = task.few_shot() if few_shot else ''
  stop_strings = task.stop_strings if few_shot else task.zero_shot_stop_strings
  if isinstance(of, EndpointModel):
    prompts = {p.id: examples + task.prompt(p) for p in problems}
    return _ask(context, step, context.root / folder, of, generator, prompts, stop_strings, wanted, first, counted)
  renderer = context.renderer(model, s['chat'][model], examples)
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


def _ask(
  context: Context,
  step: Step,
  folder: epath.Path,
  model: EndpointModel,
  generator: str,
  prompts: Mapping[str, str],
  stop_strings: Sequence[str],
  wanted: Sequence[tuple[str, int]],
  first: int,
  counted: bool,
) -> ByProblem[Sample]:
  """The samples of an endpoint; what a reply says was read is known before its samples are stored.

  Raises EndpointError, also where several processes would ask.
  """
  if context.hosts.count > 1:
    raise EndpointError(
      f'config.models.{generator}: an endpoint is asked by one process: run --stages=plan,sample,grade on one machine, '
      'and the others from there'
    )
  server = endpoint.connect(generator, model, step.settings, stop_strings)
  each, known = model.said['n'], {}
  if (folder / layout.PROMPTS).exists():
    known = {p: n._replace(each=each) for p, n in read_prompts(folder, context.share_prefix).items()}
  kept = Kept(folder, known, first=first, counted=counted)
  prices = context.costs['price'].prices[generator] if 'price' in context.costs else (0.0, 0.0)

  def source(missing: Sequence[tuple[str, int]]) -> Iterator[list[Sample]]:
    model.purse.begin(prices, lambda: dollars(prices, by_model(read_ledgers(context.root)).get(generator, {})))
    asks = endpoint.asks(generator, model, prompts, missing, step.settings['seed'] + step.question_set)
    for reply in server.draw(asks, model.purse, context.hosts.stop.is_set):
      problem = reply.samples[0].problem_id
      if problem not in known:
        known[problem] = Prompts(0, reply.prompt_tokens, context.share_prefix, each)
        write_prompts(kept, generator)
      context.hosts.progressed()
      yield reply.samples
    context.check()

  return keep(context, kept, generator, wanted, source, elsewhere=True)
