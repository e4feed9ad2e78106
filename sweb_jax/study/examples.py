"""What an arm is trained on: of drawn samples those that its rules keep, or solutions by people. One step an arm."""

from __future__ import annotations

import dataclasses
import itertools
import sys
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import ClassVar

import numpy as np

from sweb_jax import layout, records
from sweb_jax.budget import Arm
from sweb_jax.curation import balance, select
from sweb_jax.records import Example, Problem
from sweb_jax.runtime import files
from sweb_jax.study import tokenised
from sweb_jax.study.allocation import Allocation
from sweb_jax.study.context import Context
from sweb_jax.study.opinions import Opinions
from sweb_jax.study.problems import Problems
from sweb_jax.study.step import Nothing, Step
from sweb_jax.study.verdicts import Graded, Verdicts
from sweb_jax.tasks import grading


@dataclasses.dataclass(frozen=True, eq=False, kw_only=True)
class Examples(Step):
  """The examples of an arm on a question set."""

  kind: ClassVar[str] = 'examples'
  stage: ClassVar[str] = 'grade'
  divided: ClassVar[bool] = False

  question_set: int
  arm: Arm
  problems: Problems
  graded: Verdicts | Allocation | None
  """Where its samples come from; None: from people."""
  opinions: Opinions | None = None
  """Of the judge that filters them."""
  earlier: Examples | None = None
  """Of the round before, which are kept."""
  learners: Mapping[str, bool] = dataclasses.field(default_factory=dict)
  """Models that are trained on it -> whether they read chat turns."""

  @property
  def folder(self) -> str:
    return layout.examples(self.question_set, self.arm.name)

  @property
  def inputs(self) -> tuple[Step, ...]:
    return (self.problems, *(step for step in (self.graded, self.opinions, self.earlier) if step))

  @property
  def needs(self) -> tuple[Step, ...]:
    return tuple(step for step in (self.graded, self.opinions) if step)

  def run(self, context: Context) -> None:
    """Writes the examples, and what each rule removed.

    Raises Nothing where no example is left, with the counts.
    """
    most = 0
    if self.graded is not None and self.settings['data.balance']:
      most = balance(self._selected(context, Counter(), 0))
    chosen, counts = self._unique(context, most), Counter()
    seen = written = 0
    with files.writing(context.root / self.folder / layout.EXAMPLES) as file:
      for seen, example in enumerate(self._every(context, counts, most), 1):
        if chosen is None or seen - 1 in chosen:
          file.write(f'{records.to_json(example)}\n'.encode())
          written += 1
      if chosen is not None:
        counts['over_unique_examples'] = seen - written
      files.write_json(context.root / self.folder / layout.COUNTS, counts)
      if not written:
        raise Nothing(self._reason(counts), dict(counts))
    for learner, chat in self.learners.items():  # So that no training has to wait for it.
      tokenised.make(context, self.folder, context.renderer(learner, chat, ''))
    context.meter.add()

  def read(self, context: Context) -> Iterator[Example]:
    return records.read(Example, context.root / self.folder / layout.EXAMPLES)

  def _every(self, context: Context, counts: Counter[str], most: int) -> Iterator[Example]:
    """Of the rounds before, of this one, and by people; `counts` gets what each rule removed.

    A problem is read at a time: what is held does not grow with the arm.
    """
    if self.earlier and (context.root / self.earlier.folder / layout.EXAMPLES).exists():
      for example in self.earlier.read(context):
        counts['of_earlier_rounds'] += 1
        yield example
    if self.graded is not None:
      yield from self._selected(context, counts, most)
    if self.graded is None or self.settings['data.mix_gold']:
      for example in gold(context, context.problems(self.problems.folder, self.problems.count)):
        if self.graded is not None:
          counts['gold_added'] += 1
        yield example

  def _selected(self, context: Context, counts: Counter[str], most: int) -> Iterator[Example]:
    """What is kept of the arm's samples, those of several generators numbered through, the first generator's first."""
    problems = context.problems(self.problems.folder, self.problems.count)
    task, keep, cut = context.tasks['train'], self.settings['data.filter'], 0

    def graded() -> Iterator[list[Graded]]:
      nonlocal cut
      for p, *held in zip(problems, *self.graded.read(context, self.arm.whole).values(), strict=True):
        context.hosts.progressed()
        rows = _numbered(itertools.chain.from_iterable(held))
        cut += sum(s.finish == 'length' for s, _ in rows)
        if keep == 'majority' and isinstance(self.graded, Allocation):  # Over all that the arm holds.
          verdicts = grading.add_votes(task.same, [p], [v for _, v in rows], getattr(task, 'keys', None))
          rows = [(s, v) for (s, _), v in zip(rows, verdicts, strict=True)]
        yield rows

    yield from select(
      problems,
      {p.id: task.prompt(p) for p in problems},
      graded(),
      counts,
      first=sys.maxsize,  # What the arm holds is all its own.
      max_per_problem=self.settings['data.max_per_problem'],
      dedupe=self.settings['data.dedupe'],
      most=most,
      keep=keep,
      opinions=self.opinions and self.opinions.read(context),
    )
    counts['cut'] += cut

  def _unique(self, context: Context, most: int) -> frozenset[int] | None:
    """Which examples are taken, by their numbers, where an arm is to have no more than so many; None: all."""
    if self.arm.budget is None or not (unique := self.settings['train.unique_examples']):
      return None
    count = sum(1 for _ in self._every(context, Counter(), most))
    seed = self.settings['seed'] + self.question_set
    return frozenset(np.random.default_rng(seed).permutation(count)[:unique].tolist())

  def _reason(self, counts: dict[str, int]) -> str:
    """Why there is nothing, by what removed the samples."""
    if self.graded is None:
      return 'the problems have no solutions by people'
    drawn = self.graded.samples if isinstance(self.graded, Verdicts) else self.graded
    limit, samples = drawn.settings.get('sampling.max_new_tokens'), counts['sampled']
    removed = ', '.join(f'{n} {name}' for name, n in counts.items() if n and name not in ('sampled', 'kept', 'cut'))
    cut = f'{counts["cut"]} of {samples} were cut{f" at {limit} tokens" if limit else ""}'
    return f'none of {samples} samples is kept{f" ({removed})" if removed else ""}; {cut}'


def gold(context: Context, problems: Sequence[Problem]) -> list[Example]:
  """Solutions by people, one a training problem."""
  return [Example(p.id, context.tasks['train'].prompt(p), p.solutions[0]) for p in problems if p.solutions]


def _numbered(rows: Iterable[Graded]) -> list[Graded]:
  """A problem's samples with the indices 0, 1, ..."""
  return [
    (s, v) if s.index == i else (dataclasses.replace(s, index=i), dataclasses.replace(v, index=i))
    for i, (s, v) in enumerate(rows)
  ]
