"""What an arm is expected to cost, and what it was charged, under every definition side by side."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence

from etils import epath

from sweb_jax import layout
from sweb_jax.budget.cost import Cost, Prompts
from sweb_jax.budget.matching import Arm, Typical
from sweb_jax.budget.policies import Cascade, Mixture, Policy
from sweb_jax.runtime import files


def typical(cost: Cost, generators: Sequence[str], prompts: Prompts, tokens: int, problems: int) -> dict[str, Typical]:
  """What a sample of `tokens` tokens costs, and what is read for each of so many problems."""

  def one(g: str) -> Typical:
    draw, read = cost.completion(g, prompts, tokens), cost.prompt(g, prompts)
    if prompts.each:
      draw, read = draw + read / prompts.each, 0
    return Typical(draw, read + cost.prefix(g, prompts) / problems)

  return {g: one(g) for g in generators}


def planned_samples(
  arm: Arm, policy: Policy | None, amount: float, expected: Mapping[str, Typical], problems: int
) -> dict[str, int]:
  """Samples an arm is expected to hold, by generator.

  Args:
    arm: one that is drawn.
    policy: the arm's, if it has one.
    amount: its budget, where no count is given, in the unit of `expected`.
    expected: generator -> what it costs.
    problems: training problems.
  """
  if arm.samples is not None:
    return {arm.generator: math.floor(arm.samples * problems + 1e-6)}

  def bought(g: str, share: float) -> int:
    return max(0, math.floor((share - expected[g].read * problems) / expected[g].draw))

  match policy:
    case Mixture():
      return {g: bought(g, share * amount) for g, share in policy.shares}
    case Cascade():
      cheap, strong = policy.generators
      count = min(problems * policy.first, bought(cheap, amount))
      return {
        cheap: count, strong: bought(strong, amount - count * expected[cheap].draw - expected[cheap].read * problems)
      }
    case _:
      g = policy.generators[0] if policy else arm.generator
      return {g: bought(g, amount)}


def planned_amount(budget: Mapping[str, float], expected: Mapping[str, Typical], problems: int) -> float:
  """What a budget of the config is expected to be worth: the amount given, or what the anchor's samples cost."""
  ((anchor, samples),) = budget.items()
  if anchor not in expected:
    return samples
  return problems * (samples * expected[anchor].draw + expected[anchor].read)


def charged(
  cost: Cost, generator: str, prompts: Mapping[str, Prompts], lengths: Mapping[str, Sequence[int]]
) -> float:
  """What samples cost: the worked examples once, a problem's prompt once, every sample.

  Args:
    cost: the definition.
    generator: who drew.
    prompts: problem id -> what was read first.
    lengths: problem id -> tokens of each of its samples; problems without a sample cost nothing.
  """
  drawn = {p: tokens for p, tokens in lengths.items() if tokens}
  if not drawn:
    return 0
  # Whole numbers of FLOPs and tokens stay whole.
  total = cost.prefix(generator, next(iter(prompts.values())))
  for p, tokens in drawn.items():
    total += cost.prompt(generator, prompts[p]) * prompts[p].readings(len(tokens))
    total += sum(cost.completion(generator, prompts[p], n) for n in tokens)
  return total


def read_prompts(folder: epath.Path, shared: bool) -> dict[str, Prompts]:
  """What was read before the samples of a folder, by problem id. `shared`: worked examples once, else once a problem.

  Raises ValueError where the folder does not say.
  """
  row = files.read_json(folder / layout.PROMPTS)
  each = row.get('each', 0)
  return {name: Prompts(row['prefix'], tokens, shared, each) for name, tokens in row['prompts'].items()}
