"""Right or wrong: the verdicts on samples, kept in files that are only added to."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping, Sequence
from typing import ClassVar

from etils import epath

from sweb_jax import layout, records, tasks
from sweb_jax.records import Problem, Sample, Verdict
from sweb_jax.runtime import files
from sweb_jax.study.context import Context
from sweb_jax.study.samples import Samples
from sweb_jax.study.step import Step
from sweb_jax.tasks import grading

Graded = tuple[Sample, Verdict]


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
    of = self.samples.problems
    samples = self.samples.read(context, self.samples.count)
    opinion = self.extent['grading.second_opinion']
    problems = context.problems(of.folder, of.count)
    extend(context, context.root / self.folder, context.tasks['train'], problems, samples, opinion)
    context.meter.add()

  def read(self, context: Context, count: int) -> dict[str, list[Graded]]:
    """Generator -> the first `count` samples of every problem with their verdicts, by problem and index."""
    verdicts = read(context.root / self.folder)
    samples = self.samples.read(context, count)
    return {self.samples.generator: [(s, verdicts[s.problem_id, s.index]) for s in samples]}


def extend(
  context: Context,
  folder: epath.Path,
  task: tasks.Task,
  problems: Sequence[Problem],
  samples: Sequence[Sample],
  second_opinion: bool,
) -> None:
  """Writes the verdicts that a folder lacks, with votes where answers can be compared.

  Args:
    context: the processes; each grades samples of its own problems, the first writes.
    folder: of the verdicts.
    task: what grades.
    problems: of the samples.
    samples: by problem and index.
    second_opinion: verdicts also hold math-verify's opinion, where the task's answers are mathematical.
  """
  hosts = context.hosts
  known = read(folder)
  second_opinion = second_opinion and task.second_opinion
  missing = [s for s in samples if not _complete(known.get((s.problem_id, s.index)), second_opinion)]
  if not missing:
    return
  number = 1 + max((layout.number_of(p.name) for p in folder.glob(layout.VERDICTS)), default=-1)
  file = folder / layout.numbered(layout.VERDICTS, number)
  by_id = {p.id: p for p in problems}
  mine = [s for s in missing if hosts.mine(s.problem_id)]
  verdicts = tasks.verdicts(task, ((by_id[s.problem_id], s) for s in mine))
  if second_opinion:
    verdicts = grading.add_second_opinions(problems, verdicts)
  if hosts.count > 1:
    lines = hosts.exchange(file, records.dumps(verdicts)).encode().splitlines()
    verdicts = [records.from_json(Verdict, line) for line in lines]
  if not hosts.leads:
    return
  found = known | {(v.problem_id, v.index): v for v in verdicts}
  if task.same is not None:
    # Over all samples: a vote names the first sample with the same answer, which may have been graded before.
    found = {(v.problem_id, v.index): v for v in grading.add_votes(task.same, problems, list(found.values()))}
  files.write_text(file, records.dumps(found[s.problem_id, s.index] for s in missing))


def read(folder: epath.Path) -> Mapping[tuple[str, int], Verdict]:
  """(problem id, index) -> verdict; of two on the same sample the later one stands."""
  rows = (v for path in sorted(folder.glob(layout.VERDICTS)) for v in records.read(Verdict, path))
  return {(v.problem_id, v.index): v for v in rows}


def _complete(verdict: Verdict | None, second_opinion: bool) -> bool:
  if verdict is None:
    return False
  return not second_opinion or verdict.lenient is None or bool(verdict.second_reason)
