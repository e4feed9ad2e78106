"""FLOPs of a token (Kaplan et al. 2020, arXiv 2001.08361; the paper's section 3): 2P forward, 4P backward.

P counts all parameters of a dense decoder, a tied embedding once. Attention over the context is left out.
"""

from __future__ import annotations


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
