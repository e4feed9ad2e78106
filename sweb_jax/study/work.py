"""The work of a step, as it is expected from assumed lengths and rates."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from typing import NamedTuple

from sweb_jax.budget import flops_per_token, training_flops_per_token


class Work(NamedTuple):
  """What a step is expected to take, of one kind and by one model."""

  kind: str
  """'sample', 'allocate', 'judge', 'train', 'validate', 'evaluate' or 'transfer'."""
  model: str
  samples: int
  """Completions drawn, or examples trained on, a duplicate counted again."""
  tokens: int
  """Drawn, or trained on (prompt and completion)."""
  flops: int
  """All of it. A problem's prompt is read once, the worked examples once a step: all rows share them."""
  seconds: float


class Rates(NamedTuple):
  """FLOP/s by model, of the whole machine."""

  sampling: Mapping[str, float]
  training: Mapping[str, float]
  """Of learners."""


@dataclasses.dataclass(frozen=True)
class Assumed:
  """Lengths and rates of a study, measured or assumed."""

  parameters: Mapping[str, int]
  """Model -> number of parameters that a token has to do with; 0: not known."""
  completion: int
  """Tokens a completion has, stop token included."""
  prompt: int
  """Tokens of a zero-shot prompt."""
  few_shot: int
  """Tokens of the worked examples before it."""
  rates: Rates
  elsewhere: tuple[str, ...] = ()
  """Models that are not computed here."""
  examples: Mapping[str, int] = dataclasses.field(default_factory=dict)
  """Folder of a step of examples -> how many there are, where they are there."""

  def drawing(
    self, kind: str, model: str, problems: int, samples: int, *, few_shot: bool, runs: int = 1, prompt: int = 0
  ) -> Work:
    """Work of drawing `samples` completions, for `problems` problems in each of `runs` runs."""
    tokens = samples * self.completion
    read = runs * (problems * (prompt or self.prompt) + few_shot * self.few_shot)
    size = self.parameters[model]
    flops = flops_per_token(size) * (tokens + read) if size else 0
    seconds = 0.0 if model in self.elsewhere else flops / self.rates.sampling[model]
    return Work(kind, model, samples, tokens, flops, seconds)

  def judging(self, model: str, samples: int) -> Work:
    """Work of a judge: each sample is read with its problem and a right solution, and answered in as many tokens."""
    prompt = self.prompt + 2 * self.completion
    return self.drawing('judge', model, samples, samples, few_shot=True, prompt=prompt)

  def training(self, model: str, examples: int) -> Work:
    """Work of training on so many examples, prompts included."""
    tokens = examples * (self.prompt + self.completion)
    flops = training_flops_per_token(self.parameters[model]) * tokens
    return Work('train', model, examples, tokens, flops, flops / self.rates.training[model])
