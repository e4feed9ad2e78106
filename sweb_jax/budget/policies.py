"""Who gets the next sample: five policies behind one method.

A policy is asked in rounds. It sees what is known so far (`Known`) and lists the samples it wants next; `allocate`
draws as many of them as the budget pays for, and asks again. A round depends on the recorded samples alone, never on
which of them finished first, so a policy that is replayed decides as it did. What is known of a problem is how many of
its samples agreed with its gold answer, and the problems are training problems.
"""

from __future__ import annotations

import dataclasses
import hashlib
import math
from collections.abc import Callable, Mapping, Sequence
from typing import Any, Protocol

from sweb_jax.budget.cost import BudgetError

Want = tuple[str, str]
"""One more sample: (generator, problem id)."""


@dataclasses.dataclass
class Known:
  """What a policy may look at."""

  problems: tuple[str, ...]
  """In an order chosen by seed: where a budget ends in the middle of a round, the first have gone ahead."""
  drawn: dict[Want, int] = dataclasses.field(default_factory=dict)
  """Samples so far; where there are none, no entry. Likewise `correct`."""
  correct: dict[Want, int] = dataclasses.field(default_factory=dict)
  spent: dict[str, float] = dataclasses.field(default_factory=dict)
  """By generator."""
  exhausted: set[Want] = dataclasses.field(default_factory=set)
  """A replayed record has no further sample of these."""

  def right(self, problem: str, generators: Sequence[str]) -> int:
    return sum([self.correct.get((g, problem), 0) for g in generators])

  def open(self, generator: str) -> list[str]:
    """Problems of which the generator can draw more."""
    return [p for p in self.problems if (generator, p) not in self.exhausted]


class Policy(Protocol):
  """A frozen dataclass with these two; they are told apart by `KINDS`."""

  @property
  def generators(self) -> tuple[str, ...]:
    """Models that may be asked."""

  def ask(self, known: Known) -> list[Want]:
    """The next round, the most wanted first; empty where nothing is left to draw."""


@dataclasses.dataclass(frozen=True)
class Uniform:
  """The paper's: one sample for every problem, and again."""

  generators: tuple[str, ...]

  def ask(self, known: Known) -> list[Want]:
    (g,) = self.generators
    least = min((known.drawn.get((g, p), 0) for p in known.open(g)), default=0)
    return [(g, p) for p in known.open(g) if known.drawn.get((g, p), 0) == least]


@dataclasses.dataclass(frozen=True)
class UntilSolved:
  """Stops a problem at `correct` right solutions and spends on the others.

  When all have as many, one more becomes the goal: the whole budget is spent.
  """

  generators: tuple[str, ...]
  correct: int = 1

  def ask(self, known: Known) -> list[Want]:
    return _chase(known, self.generators[0], self.generators, known.problems, self.correct)


@dataclasses.dataclass(frozen=True)
class ByDifficulty:
  """More for hard problems: samples in proportion to how often a problem was missed, (wrong + 1) / (drawn + 2).

  After DART-Math's Prop2Diff (Tong et al., arXiv 2407.13690), which counts correct samples instead: under a budget that
  would never end on problems that are never solved.
  """

  generators: tuple[str, ...]
  first: int = 2
  """Samples of every problem before any is judged."""
  power: float = 1.0
  """Of the rate: 0 is uniform."""

  def ask(self, known: Known) -> list[Want]:
    (g,) = self.generators
    problems = known.open(g)
    drawn = {p: known.drawn.get((g, p), 0) for p in problems}
    if young := [p for p in problems if drawn[p] < self.first]:
      return [(g, p) for p in young]
    weight = {
      p: ((drawn[p] - known.correct.get((g, p), 0) + 1) / (drawn[p] + 2)) ** self.power for p in problems
    }
    if not problems:
      return []
    total, goal = sum(weight.values()), sum(drawn.values()) * 5 / 4
    counts = {p: math.ceil(goal * weight[p] / total) - drawn[p] for p in problems}
    # What was drawn beyond a problem's share is not taken back, so all may have theirs: then the most behind are next.
    if max(counts.values()) < 1:
      counts = {min(problems, key=lambda p: drawn[p] / weight[p]): 1}
    return _spread(g, counts)


@dataclasses.dataclass(frozen=True)
class Cascade:
  """`first` samples of the first generator for every problem; the second on what they left unsolved, until solved.

  When nothing is left unsolved, the second chases the problems with the fewest right solutions.
  """

  generators: tuple[str, ...]
  first: int = 1

  def ask(self, known: Known) -> list[Want]:
    cheap, strong = self.generators
    young = [p for p in known.open(cheap) if known.drawn.get((cheap, p), 0) < self.first]
    if young:
      return [(cheap, p) for p in young]
    return _chase(known, strong, self.generators, known.problems, 1)


@dataclasses.dataclass(frozen=True)
class Mixture:
  """Every generator spends its share of the budget uniformly: 5 SE + 15 WC is half and half of 10 SE."""

  shares: tuple[tuple[str, float], ...]
  """(generator, share of what is spent); they add up to 1."""

  @property
  def generators(self) -> tuple[str, ...]:
    return tuple(g for g, _ in self.shares)

  def ask(self, known: Known) -> list[Want]:
    # The one that is most behind its share is next. A generator of which the record has no more stays behind.
    for g, _ in sorted(self.shares, key=lambda s: known.spent.get(s[0], 0.0) / s[1]):
      if wants := Uniform((g,)).ask(known):
        # A budget may end in the first round: in eighths of it the shares hold there too.
        first = any(known.drawn.get((g, p), 0) == 0 for _, p in wants)
        return wants[: math.ceil(len(known.problems) / 8)] if first else wants
    return []


def _chase(known: Known, generator: str, counted: Sequence[str], problems: Sequence[str], goal: int) -> list[Want]:
  """More of `generator` for problems with fewer than `goal` right samples of the `counted`, or the next goal up.

  A quarter of what a problem has is asked at once, at least one: a hundred samples take about 16 rounds.
  """
  able = [p for p in problems if (generator, p) not in known.exhausted]
  if not able:
    return []
  right = {p: known.right(p, counted) for p in able}
  goal = max(goal, min(right.values()) + 1)
  return _spread(
    generator, {p: max(1, known.drawn.get((generator, p), 0) // 4) for p in able if right[p] < goal}
  )


def _spread(generator: str, counts: Mapping[str, int]) -> list[Want]:
  """The first sample of every problem, then the second, ..."""
  wants = [((generator, p), n) for p, n in counts.items()]  # One pair a problem: a round may be a quarter of all.
  return [want for j in range(max(counts.values(), default=0)) for want, n in wants if n > j]


def shuffled(problems: Sequence[str], seed: int) -> tuple[str, ...]:
  """Problems in an order that is a function of seed and problem ids alone."""
  return tuple(sorted(problems, key=lambda p: hashlib.sha256(f'{seed}:{p}'.encode()).digest()))


KINDS: dict[str, Callable[..., Policy]] = {
  'uniform': Uniform,
  'until_solved': UntilSolved,
  'by_difficulty': ByDifficulty,
  'cascade': Cascade,
  'mixture': Mixture,
}
_GENERATORS = {'uniform': 1, 'until_solved': 1, 'by_difficulty': 1, 'cascade': 2}


def policy(name: str, fields: Mapping[str, Any], known: Sequence[str]) -> Policy:
  """A policy from its fields: {'kind': 'until_solved', 'generators': ('wc',), 'correct': 2}.

  Args:
    name: for messages.
    fields: 'kind' of `KINDS`, and the fields of its class; a mixture's shares as {generator: share}.
    known: generators there are.

  Raises:
    BudgetError: a kind, field or generator that is not known, a number that makes no sense, or a policy that could
      never stop.
  """
  where = f'policy {name!r}'
  fields = dict(fields)
  kind = fields.pop('kind', None)
  if kind not in KINDS:
    raise BudgetError(f'{where}: {kind!r} is not a kind of policy; kinds are {", ".join(KINDS)}')
  allowed = [f.name for f in dataclasses.fields(KINDS[kind])]
  if unknown := [f for f in fields if f not in allowed]:
    raise BudgetError(f'{where}: {kind} has no field {unknown[0]!r}; its fields are {", ".join(allowed)}')
  if kind == 'mixture':
    shares = fields.get('shares')
    if not isinstance(shares, Mapping) or not all(_number(v) and v > 0 for v in shares.values()):
      raise BudgetError(f'{where}: shares={shares!r}; give {{generator: share}}, every share positive')
    if not math.isclose(sum(shares.values()), 1, abs_tol=1e-6):
      raise BudgetError(f'{where}: the shares add up to {sum(shares.values()):g}, not to 1')
    made = Mixture(tuple((g, float(v)) for g, v in shares.items()))
  else:
    made = KINDS[kind](**fields | {'generators': tuple(fields.get('generators', ()))})
    if len(made.generators) != _GENERATORS[kind]:
      raise BudgetError(
        f'{where}: {kind} takes {_GENERATORS[kind]} of the generators {", ".join(known)}, found {made.generators}'
      )
  if missing := [g for g in made.generators if g not in known]:
    raise BudgetError(f'{where}: {missing[0]!r} is not a generator; generators are {", ".join(known)}')
  for field in ('correct', 'first'):
    value = getattr(made, field, 1)
    if not (isinstance(value, int) and not isinstance(value, bool) and value > 0):
      raise BudgetError(f'{where}: {field}={value!r} must be a positive whole number')
  power = getattr(made, 'power', 1)
  if not (_number(power) and math.isfinite(power)):
    raise BudgetError(f'{where}: power={power!r} must be a number')
  return made


def policies(specifications: Mapping[str, Mapping[str, Any]], known: Sequence[str]) -> dict[str, Policy]:
  """Policies by name. One of a kind that takes one generator, and names none, becomes one a generator, 'wc_{name}'.

  Raises BudgetError as `policy` does.
  """
  made = {}
  for name, fields in specifications.items():
    if not isinstance(fields, Mapping):
      raise BudgetError(f'policy {name!r}: {fields!r} is no policy; give {{kind: ..., ...}}')
    if _GENERATORS.get(fields.get('kind')) == 1 and not fields.get('generators'):
      made |= {f'{g}_{name}': policy(name, {**fields, 'generators': (g,)}, known) for g in known}
    else:
      made[name] = policy(name, fields, known)
  return made


def _number(value: object) -> bool:
  return isinstance(value, int | float) and not isinstance(value, bool)
