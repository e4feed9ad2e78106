"""What a judge model says of samples: whether their reasoning is right.

For the false positive rate it reads some of the kept samples, chosen by the seed, beside a solution that is right. For
arms with the filter 'judge' it reads every whole sample and no solution.
"""

from __future__ import annotations

import dataclasses
import heapq
import itertools
from collections.abc import Iterator, Sequence
from typing import ClassVar

from sweb_jax import layout, records
from sweb_jax.answers import judge
from sweb_jax.answers.judge import Opinion
from sweb_jax.records import Problem, Sample
from sweb_jax.runtime import files
from sweb_jax.study.collect import Asked, Kept, collect
from sweb_jax.study.context import Context
from sweb_jax.study.step import Step
from sweb_jax.study.verdicts import Verdicts
from sweb_jax.study.work import Assumed, Work
from sweb_jax.tasks.splits import digest


@dataclasses.dataclass(frozen=True, eq=False, kw_only=True)
class Opinions(Step):
  """A judge's opinions on a generator's samples."""

  kind: ClassVar[str] = 'opinions'
  stage: ClassVar[str] = 'grade'

  verdicts: Verdicts
  of: str
  """`layout.KEPT` or `layout.ALL`."""
  model: str
  """The judge, in `config.models`."""
  task: str
  """Name of the task, or form of its answers: its worked examples for a judge."""
  count: int
  """Samples of every problem that are read, or of which some are chosen."""
  most: int
  """Samples that are read, of those that are kept."""

  @property
  def folder(self) -> str:
    return layout.opinions(self.verdicts.samples.question_set, self.verdicts.samples.generator, self.of)

  @property
  def inputs(self) -> tuple[Step, ...]:
    return (self.verdicts.samples.problems, self.verdicts.samples, self.verdicts)

  def estimate(self, assumed: Assumed) -> Iterator[Work]:
    every = self.verdicts.samples.problems.count * self.count
    yield assumed.judging(self.model, min(every, self.most) if self.of == layout.KEPT else every)

  def run(self, context: Context) -> None:
    """Asks what was not asked before; the judge's words stay in the folder."""
    of = self.verdicts.samples.problems
    problems = context.problems(of.folder, of.count)
    (found,) = self.verdicts.read(context, self.count).values()
    graded = itertools.chain.from_iterable(found)
    if self.of == layout.ALL:
      samples = [s for s, _ in graded if s.finish != 'length']
    else:
      seed = self.settings['seed'] + self.verdicts.samples.question_set
      # Those with the smallest hashes, in the order of problems.
      correct = ((digest(f'{seed} {s.problem_id} {s.index}'), n, s) for n, (s, v) in enumerate(graded) if v.correct)
      chosen = heapq.nsmallest(self.most, correct)
      samples = [s for _, _, s in sorted(chosen, key=lambda row: row[1])]
    opinions = self._ask(context, problems, samples)
    if context.hosts.leads:
      files.write_text(context.root / self.folder / layout.OPINIONS, records.dumps(opinions))
    context.meter.add()

  def read(self, context: Context) -> dict[tuple[str, int], bool | None]:
    """(problem id, index) -> whether the judge says right."""
    rows = records.read(Opinion, context.root / self.folder / layout.OPINIONS)
    return {(o.problem_id, o.index): o.right for o in rows}

  def _ask(self, context: Context, problems: Sequence[Problem], samples: Sequence[Sample]) -> list[Opinion]:
    """The judge's opinion on each sample, in order."""
    s, by_id = self.settings, {p.id: p for p in problems}
    gold = self.of == layout.KEPT and s['judge.gold']
    chat = s['chat'][self.model]
    renderer = context.renderer(self.model, chat, judge.worked_examples(self.task, gold=gold))
    texts = {}
    for sample in samples:
      problem = by_id[sample.problem_id]
      solution = (problem.solutions[0] if problem.solutions else problem.gold) if gold else None
      # Every sample has a prompt of its own, and is a problem of its own to the engine and the ledger.
      texts[_name(sample)] = judge.prompt(problem.text, sample.text, solution)
    if not texts:
      return []
    prompts = dict(zip(texts, renderer.prompts(list(texts.values())), strict=True))
    question_set = self.verdicts.samples.question_set
    asked = Asked(
      self.model, self.model, question_set, s['seed'] + question_set, renderer, s['judge.max_new_tokens'],
      s['sampling.dtype'], stop_strings=() if chat else judge.STOP_STRINGS,
    )  # fmt: skip
    read = context.read(renderer, prompts)
    kept = Kept(context.root / self.folder, read, kind='judge', counted=False)
    replies = collect(context, asked, kept, prompts, [(name, 0) for name in prompts]).read(prompts)
    pairs = zip(samples, replies, strict=True)
    return [_opinion(sample, reply, read[reply.problem_id].prompt) for sample, (reply, *_) in pairs]


def _name(sample: Sample) -> str:
  return f'{sample.problem_id}/{sample.index}'


def _opinion(sample: Sample, reply: Sample, read: int) -> Opinion:
  right = judge.read(reply.text) if reply.finish == 'stop' else None
  return Opinion(sample.problem_id, sample.index, right, len(reply.tokens), read)
