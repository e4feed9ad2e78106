"""Which problems are in a split: chosen by hashes of their text, so that the order of a file does not matter."""

from __future__ import annotations

import hashlib
from collections.abc import Collection, Mapping, Sequence

from absl import logging

from sweb_jax.records import Problem
from sweb_jax.tasks import SPLITS, TaskError

_NAMED = 20  # Pairs that are named one by one; of more, their number.


def digest(text: str) -> str:
  """A hash that is the same in every process, of the text up to white space."""
  return hashlib.sha256(' '.join(text.split()).encode()).hexdigest()


def hold_out(train: Sequence[Problem], shown: Sequence[Problem], count: int) -> dict[str, list[Problem]]:
  """'train' and 'validation' of a train file, without the problems that are shown as worked examples.

  Validation is the `count` texts of the smallest hashes. By text, not by row: a problem that stands twice in the file
  is in one split only, whatever the order of rows.
  """
  out = {digest(p.text) for p in shown}
  rest = [(digest(p.text), p) for p in train]
  held = set(sorted({d for d, _ in rest} - out)[:count])
  return {
    'train': [p for d, p in rest if d not in out and d not in held],
    'validation': [p for d, p in rest if d in held],
  }


def choose(
  name: str, splits: Mapping[str, Sequence[Problem]], split: str, count: int, seed: int, levels: Collection[str]
) -> list[Problem]:
  """The first `count` problems of a split in an order drawn by `seed`; a smaller count is a prefix of a larger.

  Raises TaskError for an unknown split or level, or more problems than there are.
  """
  if split not in SPLITS:
    raise TaskError(f'split={split!r} is not one of {", ".join(SPLITS)}')
  if split not in splits:
    raise TaskError(f'{name} has no {split} problems, only {", ".join(splits)}: it is a set to test on')
  found = splits[split]
  if unknown := set(levels) - {p.level for p in found}:
    known = sorted({p.level for p in found} - {''})
    raise TaskError(f'config.task.levels names {sorted(unknown)}; the {split} problems have {", ".join(known)}')
  found = [p for p in found if not levels or p.level in levels]
  if not 1 <= count <= len(found):
    raise TaskError(f'{count} {split} problems were asked for; {name} gives from 1 to {len(found)}')
  return sorted(found, key=lambda p: digest(f'{seed} {p.id}'))[:count]


def warn_of_copies(name: str, tests: Sequence[Problem], train: Sequence[Problem], what: str) -> list[tuple[str, str]]:
  """Logs a warning for every test problem whose text stands in train too, and returns the ids (test, train).

  Texts are compared up to white space; `what` is what two problems share, 'question' for instance.
  """
  trained = {digest(p.text): p.id for p in train}
  pairs = [(p.id, twin) for p in tests if (twin := trained.get(digest(p.text))) is not None]
  for test, twin in pairs[:_NAMED]:
    logging.warning('%s: %s has the same %s as %s; results on it are contaminated', name, test, what, twin)
  if len(pairs) > _NAMED:
    logging.warning('%s: %d more test problems stand in train', name, len(pairs) - _NAMED)
  return pairs
