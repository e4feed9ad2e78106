"""The verdict on a sample of a task whose answer is a mathematical expression, and what verdicts of all tasks share."""

from __future__ import annotations

import dataclasses
import os
from collections.abc import Callable, Sequence

from absl import logging

from sweb_jax.answers import grade
from sweb_jax.answers.pool import Pool, PoolError
from sweb_jax.records import Problem, Sample, Verdict

MAX_WORKERS = 4
"""Processes that run math-verify for one job."""


def verdict(task: str, problem: Problem, sample: Sample) -> Verdict:
  """Right where the answer in the task's own form is the gold answer; reasoning is not checked (paper).

  An answer that is only found by lenient reading is recorded, and does not count.
  """
  if sample.finish == 'length':
    return Verdict(sample.problem_id, sample.index, None, False, 'truncated', lenient_correct=False)
  found = grade.grade(task, problem.gold, sample.text, problem.text)
  return Verdict(
    sample.problem_id,
    sample.index,
    found.answer,
    found.correct,
    found.reason,
    lenient=found.lenient,
    lenient_correct=found.lenient_correct,
  )


def add_second_opinions(problems: Sequence[Problem], verdicts: Sequence[Verdict]) -> list[Verdict]:
  """The verdicts with math-verify's opinion on each lenient answer, from worker processes with a deadline.

  An answer is asked about once a problem, however many samples gave it. Raises PoolError (a RuntimeError) where
  math-verify cannot be run.
  """
  golds = {p.id: p.gold for p in problems}
  asked = list(dict.fromkeys((golds[v.problem_id], v.lenient) for v in verdicts if v.lenient is not None))
  if not asked:
    return list(verdicts)
  try:
    with Pool(min(MAX_WORKERS, os.cpu_count() or 1)) as pool:
      opinions = dict(zip(asked, pool.second_opinions(asked), strict=True))
  except PoolError as e:
    raise PoolError(f'{e}; --config.grading.second_opinion=False goes without second opinions') from e

  def told(v: Verdict) -> Verdict:
    if v.lenient is None:
      return v
    opinion = opinions[golds[v.problem_id], v.lenient]
    reason = grade.second_reason(opinion, v.lenient_correct)
    return dataclasses.replace(v, second_opinion=opinion.equal, second_reason=reason)

  return [told(v) for v in verdicts]


def add_votes(
  same: Callable[[Problem, str, str], bool], problems: Sequence[Problem], verdicts: Sequence[Verdict]
) -> list[Verdict]:
  """The verdicts with their votes for maj@k: samples of a problem whose answers are the same vote for one of them.

  `same` is the task's own comparison, (problem, one answer, another). It need not be transitive (decimals have a
  tolerance): the samples of a problem are taken by index, and each votes for the first answer before it that is the
  same as its own, or else for itself. Two answers that `same` cannot compare are not the same, with a line in the
  log. The gold answer has no part in it.
  """
  by_id = {p.id: p for p in problems}
  firsts: dict[str, dict[str, int]] = {}  # By problem: the answers that are voted for, and the votes for all.
  known: dict[tuple[str, str], int] = {}
  for v in sorted(verdicts, key=lambda v: v.index):
    if v.answer is None or (v.problem_id, v.answer) in known:
      continue
    voted = firsts.setdefault(v.problem_id, {})
    problem = by_id[v.problem_id]
    vote = next((i for answer, i in voted.items() if _compared(same, problem, answer, v.answer)), None)
    known[v.problem_id, v.answer] = voted.setdefault(v.answer, v.index) if vote is None else vote
  return [v if v.answer is None else dataclasses.replace(v, vote=known[v.problem_id, v.answer]) for v in verdicts]


def _compared(same: Callable[[Problem, str, str], bool], problem: Problem, one: str, other: str) -> bool:
  try:
    return same(problem, one, other)
  except Exception:
    logging.exception('%s: the answers %r and %r cannot be compared and do not vote together', problem.id, one, other)
    return False
