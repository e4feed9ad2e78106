"""What a sample costs, how many samples a budget pays for, who gets the next one, what a study will cost and what it
did.

Costs have five definitions, see `cost`; the default is the paper's: 2P FLOPs a token of a decoder with P parameters, 6P
a token it is trained on. Free of JAX.
"""

from sweb_jax.budget.allocate import Allocation, Ask, Outcome, allocate
from sweb_jax.budget.arms import charged, planned_amount, planned_samples, read_prompts, typical
from sweb_jax.budget.cost import (
  UNITS,
  BudgetError,
  Cost,
  Prompts,
  costs,
  flops_per_token,
  ratio,
  training_flops_per_token,
)
from sweb_jax.budget.ledger import (
  KINDS,
  Entry,
  Ledger,
  append,
  by_model,
  dollars,
  read,
)
from sweb_jax.budget.matching import GOLD, Arm, Comparison, Typical, comparisons, match_arms, matched_samples
from sweb_jax.budget.policies import Policy, Uniform, policies

__all__ = [
  'GOLD',
  'KINDS',
  'UNITS',
  'Allocation',
  'Arm',
  'Ask',
  'BudgetError',
  'Comparison',
  'Cost',
  'Entry',
  'Ledger',
  'Outcome',
  'Policy',
  'Prompts',
  'Typical',
  'Uniform',
  'allocate',
  'append',
  'by_model',
  'charged',
  'comparisons',
  'costs',
  'dollars',
  'flops_per_token',
  'match_arms',
  'matched_samples',
  'planned_amount',
  'planned_samples',
  'policies',
  'ratio',
  'read',
  'read_prompts',
  'training_flops_per_token',
  'typical',
]
