"""The verdict on a sample of a task whose answer is a mathematical expression, and what verdicts of all tasks share."""

from __future__ import annotations

import dataclasses
import functools
import itertools
import json
import os
import threading
from collections.abc import Callable, Hashable, Iterable, Mapping, Sequence

from absl import logging
from etils import epath

from sweb_jax import layout
from sweb_jax.answers import grade
from sweb_jax.answers.apart import Keys
from sweb_jax.answers.pool import Opinion, Pool, PoolError
from sweb_jax.records import Problem, Sample, Verdict
from sweb_jax.runtime import files

MAX_WORKERS = 4
"""Processes that run math-verify for one job."""

_PAIRS_A_WORKER = 200
"""To ask for so many takes about as long as to start a process that does: for fewer there is no second one."""

_PAIRS = 512
"""Opinions after which those that are new are written: a killed run asks again for no more than these."""


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


class SecondOpinions:
  """math-verify's opinions, each asked for once: they are kept by gold answer and answer, written as they come.

  To be used in a `with`, by any number of threads at a time: the worker processes are started when there is something
  to ask, and go when the last thread leaves. Several processes may keep their opinions in one folder.

  Args:
    folder: of files of `layout.PAIRS`, each of lines of gold answer, answer, whether they are equal, and the reason.
    prefix: comes before the number in the names of new files, another in each process.
  """

  def __init__(self, folder: epath.Path, prefix: str = ''):
    self._folder, self._prefix = folder, prefix
    self._lock = threading.Lock()
    self._users = 0
    self._pool: Pool | None = None

  def __enter__(self) -> SecondOpinions:
    with self._lock:
      self._users += 1
    return self

  def __exit__(self, *_) -> None:
    with self._lock:
      self._users -= 1
      if self._pool and not self._users:
        self._pool.close()
        self._pool = None

  @functools.cached_property
  def _known(self) -> dict[tuple[str, str], Opinion]:
    known = {}
    for path in sorted(self._folder.glob(layout.PAIRS)):
      for number, line in enumerate(path.read_bytes().splitlines(), 1):
        try:
          gold, answer, equal, reason = json.loads(line)
          if not (isinstance(equal, bool) and all(isinstance(x, str) for x in (gold, answer, reason))):
            raise ValueError('its values are of other types')
          known[gold, answer] = Opinion(equal, reason)
        except (ValueError, TypeError, RecursionError) as e:
          logging.warning('%s, line %d: not an opinion, which is asked for again: %s', path, number, e)
    return known

  def add(
    self, problems: Sequence[Problem], verdicts: Sequence[Verdict], on_opinion: Callable[[], None] = lambda: None
  ) -> list[Verdict]:
    """The verdicts with an opinion on each lenient answer, from worker processes with a deadline.

    Where there is none (it timed out, a worker died), it is asked for again when the pair comes again. `on_opinion` is
    called after each that was asked for. Raises PoolError (a RuntimeError) where math-verify cannot be run.
    """
    golds = {p.id: p.gold for p in problems}
    pairs = dict.fromkeys((golds[v.problem_id], v.lenient) for v in verdicts if v.lenient is not None)
    if not pairs:
      return list(verdicts)
    with self._lock:
      asked = self._ask([p for p in pairs if p not in self._known], on_opinion)

    def told(v: Verdict) -> Verdict:
      if v.lenient is None:
        return v
      pair = golds[v.problem_id], v.lenient
      opinion = asked.get(pair) or self._known[pair]
      reason = grade.second_reason(opinion, v.lenient_correct)
      return dataclasses.replace(v, second_opinion=opinion.equal, second_reason=reason)

    return [told(v) for v in verdicts]

  def _ask(self, pairs: Sequence[tuple[str, str]], on_opinion: Callable[[], None]) -> dict[tuple[str, str], Opinion]:
    """The opinion on each pair; what is one is known from then on."""
    if not pairs:
      return {}
    found: dict[tuple[str, str], Opinion] = {}
    kept = 0
    try:
      workers = min(MAX_WORKERS, os.cpu_count() or 1, -(-len(pairs) // _PAIRS_A_WORKER))
      if self._pool is None:
        self._pool = Pool(workers).__enter__()
      self._pool.at_least(workers)
      for pair, opinion in zip(pairs, self._pool.second_opinions(pairs), strict=True):
        found[pair] = opinion
        on_opinion()
        if len(found) - kept == _PAIRS:
          self._keep(dict(itertools.islice(found.items(), kept, None)))
          kept = len(found)
    except PoolError as e:
      raise PoolError(f'{e}; --config.grading.second_opinion=False goes without second opinions') from e
    finally:
      self._keep(dict(itertools.islice(found.items(), kept, None)))
    return found

  def _keep(self, found: Mapping[tuple[str, str], Opinion]) -> None:
    new = {pair: opinion for pair, opinion in found.items() if opinion.equal is not None}
    if not new:
      return
    self._known.update(new)
    number = layout.next_number(layout.PAIRS, (p.name for p in self._folder.glob(layout.PAIRS)), self._prefix)
    lines = (json.dumps([*pair, opinion.equal, opinion.reason], ensure_ascii=False) for pair, opinion in new.items())
    path = self._folder / layout.numbered(layout.PAIRS, number, self._prefix)
    files.write_text(path, ''.join(f'{line}\n' for line in lines))


def add_votes(
  same: Callable[[Problem, str, str], bool],
  problems: Sequence[Problem],
  verdicts: Sequence[Verdict],
  keys: Callable[[str], Keys | None] | None = None,
) -> list[Verdict]:
  """The verdicts with their votes for maj@k: samples of a problem whose answers are the same vote for one of them.

  `same` is the task's own comparison, (problem, one answer, another). It need not be transitive (decimals have a
  tolerance): the samples of a problem are taken by index, and each votes for the first answer before it that is the
  same as its own, or else for itself. Two answers that `same` cannot compare are not the same, with a line in the
  log. The gold answer has no part in it.

  `keys` are the task's own (`tasks.Task.keys`): answers that they tell apart are not compared.
  """
  firsts = {p.id: _Firsts(functools.partial(_compared, same, p), keys) for p in problems}
  known: dict[tuple[str, str], int] = {}
  for v in sorted(verdicts, key=lambda v: v.index):
    if v.answer is not None and (v.problem_id, v.answer) not in known:
      known[v.problem_id, v.answer] = firsts[v.problem_id].vote(v.answer, v.index)
  return [v if v.answer is None else dataclasses.replace(v, vote=known[v.problem_id, v.answer]) for v in verdicts]


class _Firsts:
  """The answers to one problem that are voted for, in the order in which they came."""

  def __init__(self, same: Callable[[str, str], bool], keys: Callable[[str], Keys | None] | None):
    self._same, self._keys = same, keys
    self._firsts: list[tuple[str, int]] = []
    self._with: dict[Hashable, list[int]] = {None: []}
    """Key -> places in `_firsts`; None -> of those that are compared with every answer."""

  def vote(self, answer: str, index: int) -> int:
    """The index of the first answer that is the same, and `index` where there is none: then others vote for it."""
    keys = None if self._keys is None else self._keys(answer)
    places: Iterable[int] = range(len(self._firsts))
    if keys is not None:
      places = sorted({place for key in (None, *keys) for place in self._with.get(key, ())})
    for first, voted in (self._firsts[place] for place in places):
      if self._same(first, answer):
        return voted
    for key in (None,) if keys is None else keys:
      self._with.setdefault(key, []).append(len(self._firsts))
    self._firsts.append((answer, index))
    return index


def _compared(same: Callable[[Problem, str, str], bool], problem: Problem, one: str, other: str) -> bool:
  try:
    return same(problem, one, other)
  except Exception:
    logging.exception('%s: the answers %r and %r cannot be compared and do not vote together', problem.id, one, other)
    return False
