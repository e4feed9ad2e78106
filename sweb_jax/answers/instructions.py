"""Whether a text follows instructions that a program can check: IFEval's (Zhou et al. 2023, arXiv 2311.07911).

The checks are those of the package lm_eval, which reads texts by regular expressions that some texts keep busy for
long; they run in worker processes with a deadline. Instructions are a JSON list of [id, keyword arguments], as
'[["keywords:existence", {"keywords": ["sun"]}], ["punctuation:no_comma", {}]]'.
"""

from __future__ import annotations

import atexit
import dataclasses
import functools
import json
import os
import threading
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from sweb_jax.answers.pool import Library, Opinion, Pool

MAX_LENGTH = 100_000
"""Characters of the longest text that is checked."""

DEADLINE = 10.0
"""Seconds for all instructions of a text; a usual one takes a hundredth of one."""

MAX_WORKERS = 4

Instructions = Sequence[tuple[str, Mapping[str, Any]]]


@dataclasses.dataclass(frozen=True)
class Followed:
  """What a text does of what it was told, in the order of the instructions."""

  strict: tuple[bool, ...]
  loose: tuple[bool, ...]
  """The same where first line, last line and asterisks may be missing."""
  fault: str = ''
  """Why nothing is known; both are then empty."""


def write(instructions: Instructions) -> str:
  """Instructions as the gold answer of a problem."""
  return json.dumps(instructions, ensure_ascii=False, separators=(',', ':'))


def read(gold: str) -> Instructions:
  """What `write` wrote."""
  return json.loads(gold)


def marked(instructions: Instructions, followed: Sequence[bool]) -> str:
  """'+keywords:existence -punctuation:no_comma': which are followed and which not."""
  return ' '.join(f'{"-+"[done]}{name}' for (name, _), done in zip(instructions, followed, strict=True))


def count(answer: str | None) -> int:
  """How many are followed in what `marked` wrote; none where there is nothing."""
  return sum(word.startswith('+') for word in (answer or '').split())


class Checker:
  """Checks texts in worker processes, which start with the first text and end with this process; for any thread."""

  def __init__(self):
    self._lock = threading.Lock()
    self._pool: Pool | None = None

  def follow(self, asked: Iterable[tuple[str, str, str]]) -> list[Followed]:
    """What each (prompt, instructions, text) follows, in order.

    Raises PoolError where the checks cannot be run: lm_eval is not there.
    """
    with self._lock:
      if self._pool is None:
        self._pool = Pool(min(MAX_WORKERS, os.cpu_count() or 1), DEADLINE, LIBRARY).__enter__()
        atexit.register(self._pool.close)
      return [_followed(o) for o in self._pool.second_opinions(_request(*a) for a in asked)]


@functools.cache
def checker() -> Checker:
  """The one of this process: each worker holds a quarter of a gigabyte."""
  return Checker()


def _request(prompt: str, gold: str, text: str) -> tuple[str, str]:
  instructions = read(gold)
  return json.dumps([prompt, [name for name, _ in instructions], [kwargs for _, kwargs in instructions]]), text


def _followed(opinion: Opinion) -> Followed:
  if opinion.equal is None:
    return Followed((), (), opinion.reason)
  strict, loose = (tuple(mark == '1' for mark in marks) for marks in opinion.reason.split(' '))
  return Followed(strict, loose)


def _refused(pair: tuple[str, str] | None) -> str | None:
  return 'too long' if max(map(len, pair)) > MAX_LENGTH else None


LIBRARY = Library('instructions', 'lm_eval.tasks.ifeval.utils', "'sweb_jax[ifeval]'", _refused)
