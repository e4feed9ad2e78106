"""What was spent: every token drawn is charged, whether the sample was kept, wrong or cut."""

from __future__ import annotations

import collections
import dataclasses
from collections.abc import Iterable

from sweb_jax.budget.cost import BudgetError
from sweb_jax.records import Sample


@dataclasses.dataclass(frozen=True)
class Charge:
  """What a set of samples cost."""

  samples: int
  tokens: int
  """Tokens drawn, stop tokens included; prompts are not."""


def tokens_charged(samples: Iterable[Sample]) -> int:
  """Tokens drawn in all of `samples`, stop tokens included."""
  return sum(len(s.tokens) for s in samples)


def charge(rows: Iterable[Sample], samples: int) -> Charge:
  """What an arm of `samples` a problem is charged, out of one generator's rows in any order.

  The arm is the prefix `index < samples` of every problem that occurs in `rows`; further rows belong to larger arms.
  Raises BudgetError where a row stands twice or a problem has fewer rows: a partial sum would understate the arm.
  """
  if samples < 1:
    raise BudgetError(f'an arm of {samples} samples a problem cannot be charged; it has at least 1')
  tokens = 0
  seen: dict[str, set[int]] = collections.defaultdict(set)
  for row in rows:
    indices = seen[row.problem_id]
    if not 0 <= row.index < samples:
      continue
    if row.index in indices:
      raise BudgetError(f'problem {row.problem_id!r}, sample {row.index} stands twice; charge each sample once')
    indices.add(row.index)
    tokens += len(row.tokens)
  for problem_id, indices in seen.items():
    if len(indices) < samples:
      raise BudgetError(f'problem {problem_id!r} has {len(indices)} of {samples} samples; finish sampling first')
  return Charge(samples=samples * len(seen), tokens=tokens)
