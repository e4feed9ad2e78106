"""Graded samples as arrays."""

from __future__ import annotations

import dataclasses

import numpy as np
from jaxtyping import Bool, Float, Int


@dataclasses.dataclass(frozen=True, eq=False)
class Draws:
  """M graded samples of each of P problems."""

  correct: Bool[np.ndarray, 'P M']
  keys: Int[np.ndarray, 'P M']
  """`records.text_key` of each text."""
  equations: Int[np.ndarray, 'P M']
  """`metrics.equations_key` of each text; 0 for solutions of test problems, of which nobody asks."""
  valid: Float[np.ndarray, 'P M']
  """1 where the reasoning is right, 0 where it is wrong, NaN where the task cannot tell."""
  truncated: Bool[np.ndarray, 'P M']
  stopped: Float[np.ndarray, 'P M']
  """1 where a stop token ended it, 0 where a stop string or the limit did; NaN where the model's are not known."""
  tokens: Int[np.ndarray, 'P M']
  """Tokens charged."""
  votes: Int[np.ndarray, 'P M']
  """Index of the first sample with the same answer; -1 where there is no vote."""
  answered: Bool[np.ndarray, 'P M']
  """The sample has an answer in the task's own form."""
  lenient: Float[np.ndarray, 'P M']
  """1 where the leniently read answer is right, 0 where it is not; NaN where the task has one reading only."""
  second: Float[np.ndarray, 'P M']
  """1 where math-verify finds the leniently read answer right, 0 where not; NaN where it has no opinion."""
  asked: Bool[np.ndarray, 'P M']
  """math-verify was asked."""
  ungraded: Bool[np.ndarray, 'P M']
  """The grader failed on it; it counts as wrong."""

  def first(self, k: int) -> Draws:
    """The first k samples of every problem."""
    return Draws(**{f.name: getattr(self, f.name)[:, :k] for f in dataclasses.fields(self)})
