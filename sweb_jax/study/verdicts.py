"""Right or wrong: the verdicts on samples, kept in files that are only added to."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterator, Mapping, Sequence
from typing import ClassVar

from etils import epath

from sweb_jax import layout, records, tasks
from sweb_jax.records import Problem, Sample, Verdict
from sweb_jax.runtime import files
from sweb_jax.runtime.by_problem import ByProblem
from sweb_jax.sampling import Store
from sweb_jax.study.context import Context
from sweb_jax.study.samples import Samples
from sweb_jax.study.step import Step
from sweb_jax.tasks import grading

Graded = tuple[Sample, Verdict]

_ROWS = 8192
"""Samples that are graded between two files, and more where one problem has more."""


@dataclasses.dataclass(frozen=True, eq=False, kw_only=True)
class Verdicts(Step):
  """Verdicts on a generator's samples."""

  kind: ClassVar[str] = 'verdicts'
  stage: ClassVar[str] = 'grade'

  samples: Samples

  @property
  def folder(self) -> str:
    return layout.verdicts(self.samples.question_set, self.samples.generator)

  @property
  def inputs(self) -> tuple[Step, ...]:
    return (self.samples.problems, self.samples)

  def run(self, context: Context) -> None:
    """Grades what has no verdict yet."""
    of, folder = self.samples.problems, context.root / self.folder
    samples = Store(context.root / self.samples.folder).by_problem()
    opinion = self.extent['grading.second_opinion']
    problems = context.problems(of.folder, of.count)
    extend(context, folder, context.tasks['train'], problems, samples, self.samples.count, opinion)
    context.meter.add()

  def read(self, context: Context, count: int) -> dict[str, Iterator[list[Graded]]]:
    """Generator -> the first `count` samples of every problem with their verdicts, a problem at a time."""
    return {self.samples.generator: self._read(context, count)}

  def _read(self, context: Context, count: int) -> Iterator[list[Graded]]:
    of, verdicts = self.samples.problems, by_problem(context.root / self.folder)
    graded = verdicts.read(p.id for p in context.problems(of.folder, of.count))
    for samples, found in zip(self.samples.read(context, count), graded, strict=True):
      verdict_of = {v.index: v for v in found}
      yield [(s, verdict_of[s.index]) for s in samples]


def extend(
  context: Context,
  folder: epath.Path,
  task: tasks.Task,
  problems: Sequence[Problem],
  samples: ByProblem[Sample],
  count: int,
  second_opinion: bool,
) -> None:
  """Writes the verdicts that a folder lacks, with votes where answers can be compared.

  So many problems at a time, each time as a file: what is held does not grow with the study, and after a kill it goes
  on from there.

  Args:
    context: the processes; each grades samples of its own problems, the first writes.
    folder: of the verdicts.
    task: what grades.
    problems: of the samples.
    samples: of these problems, and perhaps of others.
    count: samples of each problem to be graded, the first.
    second_opinion: verdicts also hold math-verify's opinion, where the task's answers are mathematical.
  """
  hosts, known = context.hosts, by_problem(folder)
  second_opinion = second_opinion and task.second_opinion
  number = layout.next_number(layout.VERDICTS, (p.name for p in folder.glob(layout.VERDICTS)))
  missing: dict[str, set[int]] = {}
  for p, verdicts in zip(problems, known.read(p.id for p in problems), strict=True):
    graded = {v.index for v in verdicts if _complete(v, second_opinion)}
    missing[p.id] = {i for i in samples.indices(p.id) if i < count} - graded
  todo = [p for p in problems if missing[p.id]]
  at_once = max(1, _ROWS // count)
  with context.second_opinions:
    for start in range(0, len(todo), at_once):
      context.check()
      some = todo[start : start + at_once]
      mine = [p for p in some if hosts.mine(p.id)]
      file = folder / layout.numbered(layout.VERDICTS, number + start // at_once)
      text = records.dumps(_graded(context, task, mine, samples, known, missing, second_opinion))
      if hosts.count > 1:
        text = _in_order(hosts.exchange(file, text), some)
      if hosts.leads:
        files.write_text(file, text)


def _graded(
  context: Context,
  task: tasks.Task,
  problems: Sequence[Problem],
  samples: ByProblem[Sample],
  known: ByProblem[Verdict],
  missing: Mapping[str, set[int]],
  second_opinion: bool,
) -> list[Verdict]:
  """The missing verdicts of some problems."""
  ids = [p.id for p in problems]

  def pairs() -> Iterator[tuple[Problem, Sample]]:
    for p, rows in zip(problems, samples.read(ids), strict=True):
      yield from ((p, s) for s in rows if s.index in missing[p.id])
      context.hosts.progressed()

  verdicts = tasks.verdicts(task, pairs())
  if second_opinion:
    verdicts = context.second_opinions.add(problems, verdicts, context.hosts.progressed)
  if task.same is None:
    return verdicts
  # Over all samples: a vote names the first sample with the same answer, which may have been graded before.
  new = {(v.problem_id, v.index) for v in verdicts}
  before = [v for rows in known.read(ids) for v in rows if (v.problem_id, v.index) not in new]
  voted = grading.add_votes(task.same, problems, before + verdicts, getattr(task, 'keys', None))
  return [v for v in voted if (v.problem_id, v.index) in new]


def _in_order(text: str, problems: Sequence[Problem]) -> str:
  """Lines of several processes in the order of one: by problem and index."""
  place = {p.id: i for i, p in enumerate(problems)}

  def key(line: str) -> tuple[int, int]:
    problem_id, index = records.key(line.encode())
    return place[problem_id], index

  return ''.join(f'{line}\n' for line in sorted(filter(None, text.split('\n')), key=key))


def by_problem(folder: epath.Path) -> ByProblem[Verdict]:
  """The verdicts of a folder; of two on the same sample the later one stands."""
  return ByProblem(Verdict, sorted(folder.glob(layout.VERDICTS)), latest=True)


def _complete(verdict: Verdict, second_opinion: bool) -> bool:
  return not second_opinion or verdict.lenient is None or bool(verdict.second_reason)
