"""What is asked: every task answers the same three questions, which problems, what prompt, what verdict.

Adding a task: write a module with a class of this shape and name it in `get` (docs/adding_a_task.md).
"""

from __future__ import annotations

import dataclasses
import importlib
import os
from collections.abc import Iterable, Mapping, Sequence
from typing import Any, Protocol

from absl import logging

from sweb_jax.answers.apart import Keys
from sweb_jax.records import UNGRADED, Problem, Sample, Verdict
from sweb_jax.runtime import hub

SPLITS = ('train', 'validation', 'test')


class TaskError(ValueError):
  """The task cannot give what was asked; the message names the file, row or field and what to do."""


class Task(Protocol):
  """A kind of problem with a checkable final answer."""

  stop_strings: tuple[str, ...]
  """After worked examples, a completion ends before the first of these."""
  zero_shot_stop_strings: tuple[str, ...]
  """The same without worked examples. A fine-tuned model ends by its stop token, and by none of these."""
  second_opinion: bool
  """Whether math-verify can read the answers, and is asked too."""

  def problems(self, split: str, count: int, seed: int, levels: Sequence[str] = ()) -> list[Problem]:
    """`count` problems of a split, of these levels (default: the task's own choice), chosen by `seed`.

    Splits share no problem. Raises TaskError where there are fewer, or for an unknown level.
    """

  def prompt(self, problem: Problem) -> str:
    """The zero-shot prompt; a solution follows it directly."""

  def few_shot(self) -> str:
    """Worked examples to put before the prompt for a base model; '' where the task needs none."""

  def verdict(self, problem: Problem, sample: Sample) -> Verdict:
    """Right or wrong, and why. A sample that was cut at the length limit is wrong."""

  def same(self, problem: Problem, gold: str, answer: str) -> bool:
    """Whether two answers to a problem are equal; votes are counted by it.

    None in place of the method: answers (programs) cannot be compared, and there is no majority vote.
    """

  def keys(self, answer: str) -> Keys | None:
    """Answers that share no key are not equal, and are not compared for votes; None: compared with every other.

    A task need not have this method: then all answers to a problem are compared with each other.
    """


def verdicts(task: Task, pairs: Iterable[tuple[Problem, Sample]]) -> list[Verdict]:
  """The verdict of each pair, in order. A task that runs programs has a `verdicts` of its own, which takes many.

  A sample on which the grader fails is wrong, with the reason 'could not be graded: ...', and stops nothing. A problem
  that the task cannot grade at all raises TaskError: that is no fault of the sample.
  """
  if hasattr(task, 'verdicts'):
    return list(task.verdicts(pairs, workers=os.cpu_count() or 1))
  return [_verdict(task, problem, sample) for problem, sample in pairs]


def _verdict(task: Task, problem: Problem, sample: Sample) -> Verdict:
  try:
    return task.verdict(problem, sample)
  except TaskError:
    raise
  except Exception as e:
    return ungraded(sample, e, lenient_correct=False if task.second_opinion else None)


def ungraded(sample: Sample, fault: Exception, lenient_correct: bool | None = None) -> Verdict:
  """The verdict on a sample on which the grader failed: wrong, and the reason names the fault."""
  where = f'{sample.problem_id}, sample {sample.index}'
  logging.error('%s could not be graded and counts as wrong', where, exc_info=fault)
  reason = f'{UNGRADED}: {type(fault).__name__}: {fault}'
  return Verdict(sample.problem_id, sample.index, None, False, reason, lenient_correct=lenient_correct)


@dataclasses.dataclass(frozen=True)
class Own:
  """What a config says of problems in files of its user's; fields of `config.task` (docs/own_tasks.md)."""

  files: Mapping[str, str]
  """Split, or 'all' -> file."""
  fields: Mapping[str, str]
  """What is sought in a row -> what the file calls it, where it has another name."""
  answer: str
  """Form of the answers."""
  shots: int = 0
  """Worked examples for a base model."""


OWN = tuple(f.name for f in dataclasses.fields(Own))

# Of the tasks that read files: the class in the module of the task's name.
_FROM_FILES = {
  'functional_math': 'FunctionalMath',
  'gsm8k': 'Gsm8k',
  'humaneval': 'HumanEval',
  'math': 'Math',
  'mbpp': 'Mbpp',
  'svamp': 'Svamp',
}


def get(name: str, *, data_dir: str = '', world: int = 0, template: str = '', own: Own | None = None) -> Task:
  """The task called `name`.

  Args:
    name: of the task.
    data_dir: folder of its files, or 'hf:OWNER/NAME' of the hub.
    world: of a generated task.
    template: takes the place of its prompt (`template.fill`); '': its own.
    own: of the task 'jsonl'.

  Raises:
    TaskError: an unknown name, files that are missing, or a template that cannot be filled in.
  """
  from sweb_jax.tasks import template as template_lib  # It reads `TaskError`.

  if hub.is_named(data_dir):
    try:
      data_dir = str(hub.fetch(data_dir, 'dataset', hub.DATA_FILES)[0])
    except hub.HubError as e:
      raise TaskError(f'config.data_dir: {e}') from e
  if name == 'arithmetic':
    from sweb_jax.tasks.arithmetic import Arithmetic as kind

    arguments = {'world': world}
  elif name == 'jsonl':
    from sweb_jax.tasks import instructions, jsonl

    if own is None:
      raise TaskError("config.task.name='jsonl': name the files in config.task.files (docs/own_tasks.md)")
    kind = instructions.Instructions if own.answer == instructions.FORM else jsonl.kind(own)
    arguments = {'data_dir': data_dir, 'own': own}
  elif name in _FROM_FILES:
    kind = getattr(importlib.import_module(f'sweb_jax.tasks.{name}'), _FROM_FILES[name])
    arguments = {'data_dir': data_dir}
  else:
    known = ', '.join(['arithmetic', 'jsonl', *_FROM_FILES])
    raise TaskError(f'config.task.name={name!r} is not a task; tasks are {known}')
  return (template_lib.with_template(kind, template) if template else kind)(**arguments)


def from_config(task: Mapping[str, Any], data_dir: str) -> Task:
  """The task that a section like `config.task` describes, as `get` does."""
  own = Own(dict(task.get('files', {})), dict(task.get('fields', {})), task.get('answer', ''), task.get('shots', 0))
  return get(task['name'], data_dir=data_dir, world=task['world'], template=task.get('template', ''), own=own)
