"""Right or wrong: from the text of a completion and its gold answer to a verdict, with a second opinion.

The own comparison decides. math-verify's opinion stands beside it; where the two differ, the grade says so.
"""

from __future__ import annotations

import collections
import dataclasses
from collections.abc import Iterable, Iterator
from typing import TypeVar

from sweb_jax.answers import apart, completions, computed, sandbox
from sweb_jax.answers.equal import normal_number, same_number
from sweb_jax.answers.extract import extract
from sweb_jax.answers.math_equal import equal
from sweb_jax.answers.pool import Opinion, Pool

NUMBER_TASKS = ('gsm8k', 'svamp', 'number')
"""Tasks whose gold answers are plain numbers, compared exactly; 'number' for one's own (docs/own_tasks.md)."""

MATH_TASKS = ('math', 'functional_math')
"""Tasks whose gold answers are LaTeX."""

TEXT_TASKS = ('choice', 'text')
"""Tasks of one's own whose gold answers are a letter or a text, the same up to white space."""

TASKS = (*MATH_TASKS, *NUMBER_TASKS, *TEXT_TASKS, 'arithmetic', *completions.TASKS)

T = TypeVar('T')


@dataclasses.dataclass(frozen=True)
class Grade:
  """What is said of one completion."""

  answer: str | None
  """The final answer by strict extraction; None where there is none."""
  correct: bool
  """The answer equals the gold answer."""
  reason: str
  """'right', 'wrong answer' or 'no answer'; of a program, what became of it in the sandbox."""
  lenient: str | None
  """The final answer by lenient extraction, which is `answer` where there is one; it decides nothing."""
  lenient_correct: bool
  """It equals the gold answer."""
  second_opinion: bool | None = None
  """Whether math-verify says that `lenient` equals the gold answer; None: it was not asked, or has no opinion."""
  second_reason: str = ''
  """'agrees', 'differs' (from `lenient_correct`), or why there is no second opinion; '' where it was not asked."""


def grade(task: str, gold: str, text: str, problem: str = '') -> Grade:
  """The grade of a completion, without second opinion; `problem` as in `same`.

  Of a task of programs, gold and problem are those of `completions.read`, and the program runs in the sandbox; many
  run faster in `completions.tried`. Raises ValueError for an unknown task, and for a gold answer that is no number
  where the task's are numbers, or no tests where they are; sandbox.SandboxError where programs cannot be run safely.
  """
  _check(task)
  if task in completions.TASKS:
    program = completions.read(task, gold, text, problem)
    return of_program(program, sandbox.run(program.program, program.tests) if program.code.strip() else None)
  found = extract(task, text)
  correct = found.strict is not None and same(task, gold, found.strict, problem)
  if found.lenient == found.strict:
    lenient_correct = correct
  else:
    lenient_correct = found.lenient is not None and same(task, gold, found.lenient, problem)
  return Grade(found.strict, correct, _reason(found.strict, correct), found.lenient, lenient_correct)


def compare(task: str, gold: str, answer: str, problem: str = '') -> Grade:
  """The grade of an answer that somebody else extracted. Raises ValueError as `grade` does."""
  _check(task)
  correct = same(task, gold, answer, problem)
  return Grade(answer, correct, _reason(answer, correct), answer, correct)


def of_program(program: completions.Program, outcome: sandbox.Outcome | None) -> Grade:
  """The grade of a program by the outcome of its tests; without one, it had no code."""
  if outcome is None:
    return Grade(None, False, 'no answer', None, False)
  right = outcome.status == 'passed'
  return Grade(program.code, right, completions.reason(outcome), program.code, right)


def same(task: str, gold: str, answer: str, problem: str = '') -> bool:
  """Whether `answer` equals `gold`, by the comparison of the task.

  `problem` is the text of the problem, where it is known: in Functional MATH it decides whether pi may be 3.14.
  Programs cannot be compared: of these tasks it raises ValueError.
  """
  if task in completions.TASKS:
    raise ValueError(f'task={task!r}: programs cannot be compared with each other')
  if task == 'arithmetic':
    return gold == answer
  if task in TEXT_TASKS:
    return gold.split() == answer.split()
  if task in NUMBER_TASKS:
    return same_number(gold, answer)
  return computed.same(gold, answer, problem) if task == 'functional_math' else equal(gold, answer)


def keys(task: str, answer: str) -> apart.Keys | None:
  """Keys by which answers are told apart: two that share none are not the same. None: it has to be compared."""
  if task in completions.TASKS:
    raise ValueError(f'task={task!r}: programs cannot be compared with each other')
  if task == 'arithmetic':
    return frozenset([answer])
  if task in TEXT_TASKS:
    return frozenset([tuple(answer.split())])
  if task in NUMBER_TASKS:
    number = normal_number(answer)
    return None if number is None else frozenset([number])
  if task == 'functional_math' and computed.tolerance(answer, ''):
    return None  # What is near enough to it may be far away.
  return apart.keys(answer)


def grade_all(rows: Iterable[tuple[str, str]], task: str, pool: Pool | None) -> Iterator[Grade]:
  """The grade of each (gold answer, completion), in order, with second opinions where there is a pool.

  Reads `rows` as it goes, at most `pool.WINDOW` rows ahead. Raises ValueError as `grade` does, naming the 0-based row.
  """
  for _, graded in add_opinions(_numbered(rows, task), pool):
    yield graded


def add_opinions(
  graded: Iterable[tuple[T, str, Grade | None]], pool: Pool | None
) -> Iterator[tuple[T, Grade | None]]:
  """Passes on (anything, grade) of each (anything, gold answer, grade) in order, the grade with a second opinion.

  Where the grade is None, or has no answer, math-verify is not asked. Without a pool grades pass as they are.
  """
  if pool is None:
    for item, _, found in graded:
      yield item, found
    return
  waiting: collections.deque[tuple[T, Grade | None]] = collections.deque()  # As long as the pool reads ahead.

  def pairs() -> Iterator[tuple[str, str] | None]:
    for item, gold, found in graded:
      waiting.append((item, found))
      yield None if found is None or found.lenient is None else (gold, found.lenient)

  for opinion in pool.second_opinions(pairs()):
    item, found = waiting.popleft()
    yield item, None if found is None else _with(found, opinion)


def _numbered(rows: Iterable[tuple[str, str]], task: str) -> Iterator[tuple[None, str, Grade]]:
  for i, (gold, text) in enumerate(rows):
    try:
      yield None, gold, grade(task, gold, text)
    except ValueError as e:
      raise ValueError(f'row {i}: {e}') from e


def _with(found: Grade, opinion: Opinion) -> Grade:
  return dataclasses.replace(
    found, second_opinion=opinion.equal, second_reason=second_reason(opinion, found.lenient_correct)
  )


def second_reason(opinion: Opinion, correct: bool) -> str:
  """'agrees' or 'differs' of an opinion on an answer that is `correct` to the own grader, or why there is none."""
  if opinion.equal is None:
    return opinion.reason
  return 'agrees' if opinion.equal == correct else 'differs'


def _check(task: str) -> None:
  if task not in TASKS:
    raise ValueError(f'task={task!r} is not one of {", ".join(TASKS)}')


def _reason(answer: str | None, correct: bool) -> str:
  if answer is None:
    return 'no answer'
  return 'right' if correct else 'wrong answer'
