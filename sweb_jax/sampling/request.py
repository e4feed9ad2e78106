"""What goes into the engine and what comes out: token ids, no text."""

from __future__ import annotations

import dataclasses


class SamplingError(ValueError):
  """A request the engine cannot serve, or logits that are not numbers; the message names the row."""


@dataclasses.dataclass(frozen=True, slots=True)
class Request:
  """One completion to draw."""

  problem_id: str
  index: int
  prompt: tuple[int, ...]
  """Ids after the shared prefix; with an empty prefix they start with BOS."""
  limit: int | None = None
  """Tokens to draw at most; None: as many as the engine allows."""


@dataclasses.dataclass(frozen=True)
class Completion:
  """One finished draw."""

  problem_id: str
  index: int
  tokens: tuple[int, ...]
  """Ids drawn, the stop token included."""
  finish: str
  """'stop' or 'length'."""
  logprob: float
  """Sum of the drawn tokens' log-probabilities at temperature 1."""
