"""What is asked: every task answers the same three questions, which problems, what prompt, what verdict.

Adding a task: write a module with a class of this shape and name it in `get` (docs/adding_a_task.md).
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Protocol

from sweb_jax.records import Problem, Sample, Verdict

SPLITS = ('train', 'validation', 'test')


class TaskError(ValueError):
  """The task cannot give what was asked; the message names the file, row or field and what to do."""


class Task(Protocol):
  """A kind of problem with a checkable final answer."""

  stop_strings: tuple[str, ...]
  """A completion ends before the first of these; a fine-tuned model ends by its stop token instead."""

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


def get(name: str, *, data_dir: str = '', world: int = 0) -> Task:
  """The task called `name`. Raises TaskError for an unknown name or files that are missing."""
  if name == 'arithmetic':
    from sweb_jax.tasks.arithmetic import Arithmetic

    return Arithmetic(world=world)
  if name == 'gsm8k':
    from sweb_jax.tasks.gsm8k import Gsm8k

    return Gsm8k(data_dir)
  if name == 'humaneval':
    from sweb_jax.tasks.humaneval import HumanEval

    return HumanEval(data_dir)
  if name == 'mbpp':
    from sweb_jax.tasks.mbpp import Mbpp

    return Mbpp(data_dir)
  raise TaskError(f"config.task.name={name!r} is not a task; tasks are 'arithmetic', 'gsm8k', 'humaneval' and 'mbpp'")
