"""The samples of an arm whose budget a policy shares out: rounds of draw, grade, decide.

What the generators' own steps hold already is taken from there; what a policy wants beyond it is drawn into stores of
its own. Every decision follows from the samples alone, so a run that was killed goes the same way again and finds its
samples there.
"""

from __future__ import annotations

import dataclasses
import itertools
from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import ClassVar

from absl import logging

from sweb_jax import budget, layout, records, tasks
from sweb_jax.budget import Ask, Outcome, Prompts
from sweb_jax.records import Problem, Sample, Verdict
from sweb_jax.runtime import files
from sweb_jax.runtime.by_problem import ByProblem
from sweb_jax.sampling import Store
from sweb_jax.study import recorded
from sweb_jax.study.context import Context
from sweb_jax.study.endpoint import EndpointModel
from sweb_jax.study.problems import Problems
from sweb_jax.study.recorded import RecordedModel
from sweb_jax.study.samples import draw
from sweb_jax.study.step import Step
from sweb_jax.study.verdicts import Graded, Verdicts
from sweb_jax.study.work import Assumed, Work


@dataclasses.dataclass(frozen=True)
class Anchor:
  """The arm whose spending an allocation equals."""

  verdicts: Verdicts
  count: int
  """Samples a problem of the arm."""


@dataclasses.dataclass(frozen=True, eq=False, kw_only=True)
class Allocation(Step):
  """What a policy buys for an arm's budget, with verdicts."""

  kind: ClassVar[str] = 'allocations'
  stage: ClassVar[str] = 'grade'

  question_set: int
  arm: str
  policy: budget.Policy
  amount: float | Anchor
  """The budget: an amount in the study's definition of cost, or what another arm was charged."""
  counted: bool
  """`amount` is a number of samples, and no cost."""
  problems: Problems
  whole: Mapping[str, Verdicts]
  """Generator -> its own samples of every problem, which are taken before any is drawn."""
  expected: Mapping[str, int]
  """Generator -> samples of its own that are expected to be drawn."""
  most: int | None = None
  """Samples of a problem."""

  @property
  def folder(self) -> str:
    return layout.allocation(self.question_set, self.arm)

  @property
  def inputs(self) -> tuple[Step, ...]:
    anchor = (self.amount.verdicts,) if isinstance(self.amount, Anchor) else ()
    graded = {v.folder: v for v in (*self.whole.values(), *anchor)}.values()
    return (self.problems, *(step for v in graded for step in (v.samples, v)))

  def estimate(self, assumed: Assumed) -> Iterator[Work]:
    for g, samples in self.expected.items():
      yield assumed.drawing('allocate', g, self.problems.count, samples, few_shot=True)

  def run(self, context: Context) -> None:
    """Spends the budget, and writes what the arm holds and how it was spent."""
    problems = context.problems(self.problems.folder, self.problems.count)
    s, cost = self.settings, None if self.counted else context.costs[self.settings['cost.name']]
    amount = self._charged(context, cost) if isinstance(self.amount, Anchor) else self.amount
    prompts = {g: self._prompts(context, g, problems) for g in self.policy.generators}
    drawn = {g: _Drawn(context, self, g, problems) for g in self.policy.generators}

    def buy(asks: Sequence[Ask]) -> list[Outcome | None]:
      for g, d in drawn.items():
        d.complete([(a.problem, a.index) for a in asks if a.generator == g and (not self.most or a.index < self.most)])
      return [drawn[a.generator].have.get((a.problem, a.index)) for a in asks]

    spent = budget.allocate(
      self.policy,
      [p.id for p in problems],
      budget=amount,
      cost=cost,
      prompts=prompts,
      tokens=dict.fromkeys(self.policy.generators, s['estimate.completion_tokens']),
      seed=s['seed'] + self.question_set,
      draw=buy,
    )
    if not context.hosts.leads:
      return
    for g in self.policy.generators:
      folder, bought = context.root / self.folder / g, {p: i for (by, p), i in spent.samples.items() if by == g}
      with files.writing(folder / layout.HELD) as held, files.writing(folder / layout.GRADED) as graded:
        for sample, verdict in drawn[g].read(bought):
          held.write(records.dumps([sample]).encode())
          graded.write(records.dumps([verdict]).encode())
    unit = cost.unit if cost else 'samples'
    said = {'budget': amount, 'unit': unit, 'charged': spent.total, 'overshoot': spent.overshoot, 'ended': spent.ended}
    read = {g: {p: n.prompt for p, n in of.items()} for g, of in prompts.items()}
    said |= {'rounds': spent.rounds, 'generators': list(self.policy.generators), 'prompts': read}
    said['prefix'] = {g: next(iter(of.values())).prefix for g, of in prompts.items()}
    said['each'] = {g: next(iter(of.values())).each for g, of in prompts.items()}
    files.write_json(context.root / self.folder / layout.ALLOCATION, said)
    logging.info(
      '%s, question set %d: spent %.5g of %.5g %s in %d rounds, %.2g too much',
      self.arm, self.question_set, spent.total, amount, unit, spent.rounds, spent.overshoot,
    )  # fmt: skip
    context.meter.add()

  def read(self, context: Context, count: int = 0) -> dict[str, Iterator[list[Graded]]]:
    """Generator -> what the arm holds of it, a problem at a time and by index."""
    del count
    ids = [p.id for p in context.problems(self.problems.folder, self.problems.count)]
    found = {}
    for g in self.policy.generators:
      folder = context.root / self.folder / g
      pairs = records.read(Sample, folder / layout.HELD), records.read(Verdict, folder / layout.GRADED)
      found[g] = _each(ids, zip(*pairs, strict=True))
    return found

  def _charged(self, context: Context, cost: budget.Cost) -> float:
    """What the anchor's arm was charged."""
    of = self.amount.verdicts.samples
    held = (rows for rows in of.read(context, self.amount.count) if rows)
    lengths = {rows[0].problem_id: [len(s.tokens) for s in rows] for rows in held}
    read = budget.read_prompts(context.root / of.folder, context.share_prefix)
    return budget.charged(cost, of.generator, read, lengths)

  def _prompts(self, context: Context, generator: str, problems: Sequence[Problem]) -> dict[str, Prompts]:
    task, few_shot = context.tasks['train'], self.settings['sampling.few_shot']
    if isinstance(of := context.variant(generator, self.question_set), RecordedModel):
      return recorded.prompts(of, task, problems, context.share_prefix)
    if isinstance(of, EndpointModel):
      return self._prompts_of_endpoint(context, generator, of, problems)
    renderer = context.renderer(generator, self.settings['chat'][generator], task.few_shot() if few_shot else '')
    return context.read(renderer, context.prompts(renderer, task, problems))

  def _prompts_of_endpoint(
    self, context: Context, generator: str, model: EndpointModel, problems: Sequence[Problem]
  ) -> dict[str, Prompts]:
    """As its own samples were charged, else by the tokenizer that is named: before it is asked.

    Raises BudgetError where neither is there.
    """
    if whole := self.whole.get(generator):
      return budget.read_prompts(context.root / whole.samples.folder, context.share_prefix)
    if not model.renderer:
      raise budget.BudgetError(
        f'arm {self.arm!r}: nothing says how long the prompts of {generator!r} are before it is asked; name a '
        f'tokenizer in config.endpoints.{generator}.tokenizer'
      )
    task = context.tasks['train']
    counted = {p.id: len(model.renderer.prompt(task.prompt(p))) for p in problems}
    return {p: Prompts(0, n, context.share_prefix, model.said['n']) for p, n in counted.items()}


def _each(problem_ids: Iterable[str], rows: Iterator[Graded]) -> Iterator[list[Graded]]:
  """The rows of each problem, out of rows in the order of these problems."""
  row = next(rows, None)
  for problem_id in problem_ids:
    found = []
    while row and row[0].problem_id == problem_id:
      found.append(row)
      row = next(rows, None)
    yield found
  if row:
    raise records.RecordError(f'a row of problem {row[0].problem_id!r}, which is not asked or was before another one')


class _Drawn:
  """A generator's graded samples for one arm: its own step's, and what the arm has drawn beyond them.

  Texts and ids stay in the files: a policy asks what came of a sample, and only what is bought is read again.
  """

  def __init__(self, context: Context, step: Allocation, generator: str, problems: Sequence[Problem]):
    self._context, self._step, self._generator = context, step, generator
    self._problems = {p.id: p for p in problems}
    self.have: dict[tuple[str, int], Outcome] = {}
    """By problem id and index."""
    self._verdicts: dict[tuple[str, int], Verdict] = {}
    """Of what the arm has drawn itself."""
    whole = step.whole.get(generator)
    self._first = whole.samples.count if whole else 0
    for s, v in itertools.chain.from_iterable(self._whole()):
      self.have[s.problem_id, s.index] = Outcome(len(s.tokens), v.correct)
    self._folder = context.root / step.folder / generator
    if self._folder.exists():
      self._take(Store(self._folder).by_problem(), self._problems)

  def complete(self, wanted: Sequence[tuple[str, int]]) -> None:
    """Draws and grades those of (problem id, index) that are not there."""
    if missing := [w for w in wanted if w not in self.have]:
      self._context.hosts.meet(f'next round of {self._generator}')
      drawn = draw(
        self._context, self._step, f'{self._step.folder}/{self._generator}', self._generator, self._generator,
        list(self._problems.values()), missing, first=self._first, counted=False,
      )  # fmt: skip
      self._take(drawn, dict.fromkeys(p for p, _ in missing))

  def read(self, bought: Mapping[str, Sequence[int]]) -> Iterator[Graded]:
    """Yields the samples of some indices of each problem, by problem and index."""
    own = Store(self._folder).by_problem().read(self._problems) if self._folder.exists() else self._nothing()
    for problem_id, rows, more in zip(self._problems, self._whole(), own, strict=True):
      of = {s.index: (s, self._verdicts.get((problem_id, s.index))) for s in more} | {s.index: (s, v) for s, v in rows}
      yield from (of[index] for index in bought.get(problem_id, ()))

  def _whole(self) -> Iterator[list[Graded]]:
    """The graded samples of the generator's own step, a problem at a time."""
    whole = self._step.whole.get(self._generator)
    return whole.read(self._context, self._first)[self._generator] if whole else self._nothing()

  def _nothing(self) -> Iterator[list]:
    return itertools.repeat([], len(self._problems))

  def _take(self, drawn: ByProblem[Sample], problem_ids: Iterable[str]) -> None:
    """Grades what was drawn for some problems and is not yet there."""
    lengths = []

    def new() -> Iterator[tuple[Problem, Sample]]:
      for s in itertools.chain.from_iterable(drawn.read(problem_ids)):
        if (s.problem_id, s.index) not in self.have:
          lengths.append(len(s.tokens))
          yield self._problems[s.problem_id], s

    verdicts = tasks.verdicts(self._context.tasks['train'], new())
    for v, tokens in zip(verdicts, lengths, strict=True):
      self._verdicts[v.problem_id, v.index] = v
      self.have[v.problem_id, v.index] = Outcome(tokens, v.correct)
