"""Spends a budget as a policy wants: the same loop for a run, which draws, and for a simulation, which looks up."""

from __future__ import annotations

import array
import collections
import dataclasses
import functools
import math
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from typing import NamedTuple

from sweb_jax.budget.cost import BudgetError, Cost, Prompts
from sweb_jax.budget.policies import Known, Policy, Want, shuffled


class Ask(NamedTuple):
  """A sample to draw."""

  generator: str
  problem: str
  index: int
  """The next of this generator for this problem, from 0: every policy draws a prefix."""


class Round(Sequence[Ask]):
  """What is asked at once, in order: 12 bytes a sample, as a round may be a fifth of all that there are."""

  def __init__(self):
    self.wants: list[Want] = []
    self.indices: array.array[int] = array.array('i')

  def add(self, want: Want, index: int) -> None:
    self.wants.append(want)
    self.indices.append(index)

  def __len__(self) -> int:
    return len(self.wants)

  def __getitem__(self, at: int) -> Ask:
    return Ask(*self.wants[at], self.indices[at])

  def __iter__(self) -> Iterator[Ask]:
    return (Ask(*want, index) for want, index in zip(self.wants, self.indices, strict=True))


class Outcome(NamedTuple):
  """What came of it."""

  tokens: int
  correct: bool


Draw = Callable[[Sequence[Ask]], Iterable[Outcome | None]]
"""Draws a round, in the order that is asked; None for a sample that a record does not have."""


@dataclasses.dataclass(frozen=True)
class Allocation:
  """How a budget was spent."""

  samples: Mapping[Want, Sequence[int]]
  """Indices of the samples that were bought."""
  spent: Mapping[str, float]
  """By generator: prompts and samples, under the definition of the budget."""
  budget: float
  rounds: int
  ended: str
  """'budget': no further sample was expected to fit. 'record': a replayed record had no more to give."""

  @property
  def count(self) -> int:
    """Samples that were bought."""
    return sum(len(indices) for indices in self.samples.values())

  @property
  def total(self) -> float:
    return math.fsum(self.spent.values())

  @property
  def overshoot(self) -> float:
    """Spent beyond the budget: the last round's samples were longer than expected. 0 where there was enough."""
    return max(0.0, self.total - self.budget)


def allocate(
  policy: Policy,
  problems: Sequence[str],
  *,
  budget: float,
  cost: Cost | None,
  prompts: Mapping[str, Mapping[str, Prompts]],
  tokens: Mapping[str, float],
  seed: int,
  draw: Draw,
) -> Allocation:
  """Asks a policy round after round until the budget is spent.

  A round holds what is expected to fit into what is left, by the mean length of the generator's samples so far; so the
  budget is exceeded by no more than what the samples of the last round are longer than expected.

  Args:
    policy: who gets the next sample.
    problems: ids of the training problems.
    budget: in the unit of `cost`; without `cost`, in samples.
    cost: the definition under which samples are charged.
    prompts: generator -> problem id -> what is read first.
    tokens: generator -> expected length of a completion, until there is one.
    seed: of the order in which problems go ahead.
    draw: draws a round; called with what is asked, in order.

  Raises:
    BudgetError: a budget that is not positive and finite, or too small for a single sample.
  """
  if not (isinstance(budget, int | float) and budget > 0):
    raise BudgetError(f'a budget of {budget!r} pays for nothing; give a positive number')
  if not math.isfinite(budget):
    raise BudgetError(f'a budget of {budget!r} never ends; give a finite number')
  known = Known(shuffled(problems, seed))
  bill = _Bill(cost, prompts, tokens)
  samples: dict[Want, array.array[int]] = collections.defaultdict(lambda: array.array('i'))
  rounds, ended = 0, 'budget'
  while True:
    wants = policy.ask(known)
    round_ = bill.fitting(wants, known, budget - math.fsum(known.spent.values()))
    if not round_:
      if wants and not samples and not known.exhausted:
        unit = f'{budget:g} {cost.unit if cost else "samples"}'
        raise BudgetError(f'a budget of {unit} is too small for a single sample of {wants[0][0]!r}')
      ended = 'budget' if wants else 'record'
      break
    rounds += 1
    for want, index, outcome in zip(round_.wants, round_.indices, draw(round_), strict=True):
      if outcome is None:
        known.exhausted.add(want)
        continue
      bill.add(want, index, outcome.tokens, known)
      known.drawn[want] = known.drawn.get(want, 0) + 1
      known.correct[want] = known.correct.get(want, 0) + outcome.correct
      samples[want].append(index)
  return Allocation(dict(samples), known.spent, budget, rounds, ended)


class _Bill:
  """Prices samples, and guesses those to come."""

  def __init__(
    self, cost: Cost | None, prompts: Mapping[str, Mapping[str, Prompts]], tokens: Mapping[str, float]
  ):
    self._cost, self._prompts, self._typical = cost, prompts, tokens
    # A replay asks for the same lengths again and again.
    self._completion = functools.lru_cache(1 << 14)(cost.completion) if cost else None
    self._count: dict[str, int] = collections.defaultdict(int)
    self._tokens: dict[str, int] = collections.defaultdict(int)

  def fitting(self, wants: Sequence[Want], known: Known, left: float) -> Round:
    """The wanted samples that are expected to fit into what is left."""
    following: dict[Want, int] = {}
    begun = set(known.spent)
    out = Round()
    length = {
      g: max(1, round(self._tokens[g] / self._count[g] if self._count[g] else self._typical[g]))
      for g in dict.fromkeys(g for g, _ in wants)
    }
    # No sample of these lengths costs less, whatever was read before it.
    least = min((self._cost.draw(g, 0, n) for g, n in length.items()), default=0) if self._cost else 1
    for want in wants:
      if left < least:
        break
      index = following.get(want)
      if index is None:
        index = known.drawn.get(want, 0)
      g = want[0]
      price = self._price(want, index, length[g], first=index == 0, begun=g in begun)
      if price > left:
        continue
      left -= price
      begun.add(g)
      out.add(want, index)
      following[want] = index + 1
    return out

  def add(self, want: Want, index: int, tokens: int, known: Known) -> None:
    """Charges a sample, and what had to be read for it, before it is `known`."""
    g = want[0]
    price = self._price(want, index, tokens, first=want not in known.drawn, begun=g in known.spent)
    known.spent[g] = known.spent.get(g, 0) + price
    self._count[g] += 1
    self._tokens[g] += tokens

  def _price(self, want: Want, index: int, tokens: int, *, first: bool, begun: bool) -> float:
    """Of a sample: the `first` of its generator for the problem; whether the generator has `begun` to draw."""
    if self._cost is None:
      return 1
    g, problem = want
    prompts = self._prompts[g][problem]
    price = self._completion(g, prompts, tokens)
    if index % prompts.each == 0 if prompts.each else first:
      price += self._cost.prompt(g, prompts)
    return price if begun else price + self._cost.prefix(g, prompts)
