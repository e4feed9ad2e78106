"""The verdict on a sample of a task whose answer is a mathematical expression."""

from __future__ import annotations

import functools
from collections.abc import Callable

from sweb_jax.answers import grade
from sweb_jax.answers.extract import extract
from sweb_jax.records import Problem, Sample, Verdict


def verdict(
  task: str, problem: Problem, sample: Sample, same: Callable[[str, str], bool] | None = None
) -> Verdict:
  """Right where the answer in the task's own form is the gold answer; reasoning is not checked (paper).

  `same` compares (gold, answer) where that takes more than the two; None is `answers.grade.same`, as for any file.
  An answer that is only found by loose reading does not count; the reason says what it would have been.
  """
  if sample.finish == 'length':
    return Verdict(sample.problem_id, sample.index, None, False, 'truncated')
  same = same or functools.partial(grade.same, task)
  found = extract(task, sample.text)
  if found.strict is not None:
    correct = same(problem.gold, found.strict)
    return Verdict(sample.problem_id, sample.index, found.strict, correct, 'right' if correct else 'wrong answer')
  reason = 'no answer'
  if found.lenient is not None:
    reason += f' (loosely read: {"right" if same(problem.gold, found.lenient) else "wrong answer"})'
  return Verdict(sample.problem_id, sample.index, None, False, reason)
