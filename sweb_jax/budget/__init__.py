"""What a sample costs, how many samples a budget pays for, what a study will cost and what it did.

All costs are the paper's: 2P FLOPs a token of a decoder with P parameters, 6P a token it is trained on.
"""

from sweb_jax.budget.cost import BudgetError, flops_per_token, ratio, training_flops_per_token
from sweb_jax.budget.ledger import Charge, charge, tokens_charged
from sweb_jax.budget.matching import Arm, Comparison, comparisons, match_arms, matched_samples
from sweb_jax.budget.plan import PlannedJob, plan

__all__ = [
  'Arm',
  'BudgetError',
  'Charge',
  'Comparison',
  'PlannedJob',
  'charge',
  'comparisons',
  'flops_per_token',
  'match_arms',
  'matched_samples',
  'plan',
  'ratio',
  'tokens_charged',
  'training_flops_per_token',
]
