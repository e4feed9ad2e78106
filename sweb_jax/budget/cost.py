"""What work costs, under one of five definitions.

| name    | unit    | a drawn token                                   | a token read (prompt, worked examples)  |
| paper   | FLOPs   | 2P, P active parameters, a tied embedding once     | free                                    |
| flops   | FLOPs   | one decode step of the model's shape (`flops`)  | its forward pass without output logits  |
| price   | dollars | the price of an output token                    | the price of an input token             |
| seconds | seconds | measured device seconds                         | free: they are in what was measured     |
| tokens  | tokens  | 1, whichever model draws it                     | free                                    |

2P forward, 4P backward: Kaplan et al. 2020, arXiv 2001.08361; the paper's section 3.
"""

from __future__ import annotations

import dataclasses
import functools
import math
from collections.abc import Mapping
from numbers import Real
from typing import NamedTuple

from sweb_jax.budget.flops import draw_flops, read_flops
from sweb_jax.models.decoder import Decoder

UNITS = {'paper': 'FLOPs', 'flops': 'FLOPs', 'price': 'dollars', 'seconds': 'seconds', 'tokens': 'tokens'}
"""Definition -> its unit."""


PER_PARAMETER = ('paper', 'flops')
"""Definitions that need the size of a model."""


class BudgetError(ValueError):
  """A budget, model or count that cannot be priced; the message names the entry and what to do."""


def flops_per_token(parameters: int) -> int:
  """2P: FLOPs to generate, or to read, one token. Raises BudgetError unless `parameters` is positive."""
  if parameters <= 0:
    raise BudgetError(f'a model of {parameters} parameters has no cost; give its number of parameters')
  return 2 * parameters


def training_flops_per_token(parameters: int) -> int:
  """6P: FLOPs to train on one token, prompt tokens included. Raises BudgetError unless `parameters` is positive."""
  return 3 * flops_per_token(parameters)


def ratio(expensive: int, cheap: int) -> float:
  """Tokens of the model with `cheap` parameters that one token of the `expensive` one pays for.

  Gemma 2 27B against 9B: 27,227,718,144 / 9,242,164,736 = 2.946.
  """
  return flops_per_token(expensive) / flops_per_token(cheap)


class Prompts(NamedTuple):
  """Tokens that are read before a sample is drawn."""

  prefix: int
  """Of the worked examples, BOS included where they come first."""
  prompt: int
  """Of the problem, after them."""
  shared: bool = True
  """The worked examples are read once a job; else once a problem."""
  each: int = 0
  """The problem is read again for each so many of its samples, as a service bills requests; 0: once for all."""

  def readings(self, samples: int) -> int:
    """How often a problem is read for its first so many samples."""
    return -(-samples // self.each) if self.each else min(samples, 1)


@dataclasses.dataclass(frozen=True)
class Cost:
  """One definition for some models; `check` says whether it can price them."""

  name: str
  """Of `UNITS`."""
  shapes: Mapping[str, Decoder]
  """Model -> architecture."""
  prices: Mapping[str, tuple[float, float]] = dataclasses.field(default_factory=dict)
  """Model -> dollars a million input tokens, and a million output tokens."""
  seconds: Mapping[str, float] = dataclasses.field(default_factory=dict)
  """Model -> device seconds (seconds times devices) a token drawn, prompts and all."""

  @property
  def unit(self) -> str:
    return UNITS[self.name]

  def check(self, models: tuple[str, ...]) -> None:
    """Raises BudgetError for an unknown definition or model, or a missing or impossible price or time."""
    if self.name not in UNITS:
      raise BudgetError(f'cost {self.name!r} is not known; costs are {", ".join(UNITS)}')
    for model in models:
      if model not in self.shapes:
        raise BudgetError(f'{model!r} is not a model; models are {", ".join(sorted(self.shapes))}')
      if self.name == 'price':
        price = self.prices.get(model)
        if not isinstance(price, tuple | list) or len(price) != 2 or not all(_amount(p) for p in price):
          raise BudgetError(
            f'no price for {model!r}, found {price!r}; give (dollars a million input tokens, a million output tokens)'
          )
        if price[1] <= 0:
          raise BudgetError(f'an output token of {model!r} costs nothing, so no budget ends; give its price')
      if self.name in PER_PARAMETER and self.shapes[model].parameters <= 0:
        raise BudgetError(
          f'the number of parameters of {model!r} is not known, so {self.name!r} cannot charge it; give it as '
          f"config.recorded.{model}.parameters, or charge by config.cost.name='price' or 'tokens'"
        )
      if self.name == 'seconds' and not (_amount(self.seconds.get(model)) and self.seconds[model] > 0):
        raise BudgetError(
          f'no time for {model!r}, found {self.seconds.get(model)!r}; give the device seconds of a drawn token, '
          'as `python -m sweb_jax.budget spent WORKDIR` prints them'
        )

  @functools.cached_property
  def _flops_per_token(self) -> dict[str, int]:
    return {model: flops_per_token(shape.active_parameters) for model, shape in self.shapes.items()}

  def draw(self, model: str, start: int, tokens: int) -> float:
    """Cost to draw `tokens` tokens after `start` that were read."""
    if self.name == 'paper':
      return self._flops_per_token[model] * tokens
    if self.name == 'flops':
      return draw_flops(self.shapes[model], start, tokens)
    if self.name == 'price':
      return self.prices[model][1] * 1e-6 * tokens
    return tokens * (self.seconds[model] if self.name == 'seconds' else 1)

  def read(self, model: str, start: int, tokens: int, *, last: bool) -> float:
    """Cost to read `tokens` tokens after `start`; `last`: the last of them is fed by the first decode step."""
    if self.name == 'flops':
      return read_flops(self.shapes[model], start, max(0, tokens - last))
    return self.prices[model][0] * 1e-6 * tokens if self.name == 'price' else 0

  def prefix(self, model: str, prompts: Prompts) -> float:
    """Cost of what a job reads once."""
    return self.read(model, 0, prompts.prefix, last=False) if prompts.shared else 0

  def prompt(self, model: str, prompts: Prompts) -> float:
    """Cost of what a job reads once a problem, for all of its samples."""
    if prompts.shared:
      return self.read(model, prompts.prefix, prompts.prompt, last=True)
    return self.read(model, 0, prompts.prefix + prompts.prompt, last=True)

  def completion(self, model: str, prompts: Prompts, tokens: int) -> float:
    """Cost of one sample of `tokens` tokens."""
    return self.draw(model, prompts.prefix + prompts.prompt, tokens)


def costs(
  chosen: str,
  shapes: Mapping[str, Decoder],
  *,
  prices: Mapping[str, tuple[float, float]],
  seconds: Mapping[str, float],
) -> dict[str, Cost]:
  """Every definition by name that can price these models; prices and seconds, where there are any, must be complete.

  Raises BudgetError where a definition, or the `chosen` one, cannot price a model.
  """
  found = {name: Cost(name, shapes, prices, seconds) for name in (*UNITS, chosen)}
  sized = all(shape.parameters > 0 for shape in shapes.values())
  able = {'price': prices, 'seconds': seconds} | dict.fromkeys(PER_PARAMETER, sized)
  for name in able:
    if not able[name] and name != chosen:
      del found[name]
  for cost in found.values():
    cost.check(tuple(shapes))
  return found


def _amount(value: object) -> bool:
  return isinstance(value, Real) and not isinstance(value, bool) and math.isfinite(value) and value >= 0
