"""The embedded task: word problems in a made dialect (`dialect`), with an exact check of every step."""

from __future__ import annotations

import dataclasses
import itertools
from collections.abc import Sequence
from typing import ClassVar

from sweb_jax.answers.apart import Keys
from sweb_jax.records import Problem, Sample, Verdict
from sweb_jax.tasks import SPLITS, TaskError, dialect
from sweb_jax.tasks.arithmetic_checker import extract, first_fault

_SOLUTIONS = 3


@dataclasses.dataclass(frozen=True)
class Arithmetic:
  """Statements with rare verbs of dialect `world`; only the true reading of all of them gives the gold answer.

  Levels are 's3r3' (three statements, all with rare verbs), which is the default, down to 's1r0'.
  """

  world: int = 0
  """Which dialect: verbs, what they mean, and how reliably the corpus reads them."""
  stop_strings: ClassVar[tuple[str, ...]] = ()
  zero_shot_stop_strings: ClassVar[tuple[str, ...]] = ()
  second_opinion: ClassVar[bool] = False  # Whole numbers of one spelling; asking costs a minute a study.

  def problems(self, split: str, count: int, seed: int, levels: Sequence[str] = ()) -> list[Problem]:
    """`count` distinct problems of a split, chosen by `seed`; fewer of one seed are a prefix of more.

    A problem's split is a hash of its text, so splits are disjoint whatever the seeds. Each problem has up to three
    solutions that differ in the order of the steps. Raises TaskError for an unknown split or level, or a
    negative count.
    """
    if split not in SPLITS:
      raise TaskError(f'split={split!r} is not a split of the arithmetic task; use one of {", ".join(SPLITS)}')
    if count < 0:
      raise TaskError(f'count={count} problems asked of the arithmetic task; use 0 or more')
    if unknown := set(levels) - dialect.LEVELS.keys():
      raise TaskError(f'config.task.levels names {sorted(unknown)}; levels are {", ".join(sorted(dialect.LEVELS))}')
    found = dialect.targets(self.world, split, seed, tuple(levels) or (dialect.HARDEST,))
    return [_problem(q) for q in itertools.islice(found, count)]

  def prompt(self, problem: Problem) -> str:
    """The text of the problem up to 'A:'; a solution follows after a space."""
    return dialect.prompt(problem.text)

  def few_shot(self) -> str:
    """Nothing: base models are pre-trained on this very form."""
    return ''

  def verdict(self, problem: Problem, sample: Sample) -> Verdict:
    """Right if the integer after the first '####' is the gold answer; `valid` if every step is right as well.

    A sample that was cut is wrong and not valid. Raises TaskError for a problem of another world.
    """
    question = dialect.parse_question(dialect.build_world(self.world), problem.text)
    if sample.finish == 'length':
      return Verdict(sample.problem_id, sample.index, None, False, 'truncated', valid=False)
    answer = extract(sample.text)
    correct = answer is not None and self.same(problem, problem.gold, answer)
    reason = 'right' if correct else 'no answer' if answer is None else 'wrong answer'
    valid = first_fault(question.start, question.changes, sample.text) is None
    return Verdict(sample.problem_id, sample.index, answer, correct, reason, valid)

  def same(self, problem: Problem, gold: str, answer: str) -> bool:
    """Whether two answers are equal: a number of the world has one spelling."""
    del problem
    return gold == answer

  def keys(self, answer: str) -> Keys:
    """Keys by which answers are told apart: the number itself."""
    return frozenset([answer])


def _problem(question: dialect.Question) -> Problem:
  text = question.text
  return Problem(
    id=dialect.problem_id(text),
    text=text,
    gold=str(question.gold),
    solutions=dialect.solutions(question, _SOLUTIONS),
    level=f's{len(question.verbs)}r{sum(v.reliability < 1 for v in question.verbs)}',
  )
