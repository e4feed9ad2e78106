"""The problems of a question set: which of a task's problems are trained on, chosen with, and tested on."""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence
from typing import ClassVar

from etils import epath

from sweb_jax import layout, records, tasks
from sweb_jax.records import Problem
from sweb_jax.runtime import files, manifest
from sweb_jax.runtime.manifest import WorkdirError
from sweb_jax.study.context import Context
from sweb_jax.study.step import Step


@dataclasses.dataclass(frozen=True, eq=False, kw_only=True)
class Problems(Step):
  """The first `count` problems of a split; fewer are a prefix of more."""

  kind: ClassVar[str] = 'problems'
  stage: ClassVar[str] = 'plan'
  divided: ClassVar[bool] = False

  question_set: int
  split: str
  """Of `tasks.SPLITS`, or `layout.transfer(name)` of a further test set."""
  count: int

  @property
  def folder(self) -> str:
    return layout.problems(self.question_set, self.split)

  @property
  def inputs(self) -> tuple[Step, ...]:
    return ()

  @property
  def seed(self) -> int:
    return self.settings['seed'] + self.question_set

  def choose(self, task: tasks.Task) -> list[Problem]:
    """The problems, as the task gives them. Raises TaskError where it has not that many."""
    split = self.split if self.split in tasks.SPLITS else 'test'
    return task.problems(split, self.count, self.seed, self.settings['task.levels'])

  def run(self, context: Context) -> None:
    text = records.dumps(self.choose(context.tasks[self.split]))
    files.write_text(context.root / self.folder / layout.PROBLEMS, text)
    context.meter.add()


def check_unchanged(root: epath.Path, step: Problems, chosen: Sequence[Problem]) -> None:
  """Raises WorkdirError where the data give other problems, for the same config, than the workdir was made with."""
  path, said = root / step.folder / layout.PROBLEMS, manifest.read(root, step.folder)
  if said is None or said.version != step.version or not path.exists():
    return
  for there, here in zip(records.read(Problem, path), chosen, strict=False):
    if there != here:
      raise WorkdirError(
        f'{path} has problem {there.id!r} where config.data_dir gives {here.id!r} or another text of it: the workdir '
        'was made from other data; point config.data_dir at those, or name another --workdir'
      )
