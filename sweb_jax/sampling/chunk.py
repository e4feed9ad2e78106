"""A chunk of decode steps: what the host says of its rows, the loop that draws, what comes back.

How a step computes logits, and where it keeps keys and values, is its caller's concern.

Letters in shapes: S slots, C steps of a chunk, I stop ids, Q states of the stop strings' automaton, V vocabulary.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import NamedTuple, TypeVar

import jax
import jax.numpy as jnp
import numpy as np
from jax.sharding import Mesh
from jaxtyping import Array, Bool, Float, Int, Key, UInt32

from sweb_jax.models import sharding
from sweb_jax.sampling.rule import Rule, draw, row_keys

Kept = TypeVar('Kept')
"""Arrays that a step hands to the next one, as keys and values."""

Feed = Callable[[Int[Array, ''], Int[Array, 'S 1'], Int[Array, 'S 1'], Kept], tuple[Kept, Float[Array, 'S V']]]
"""(Step of the chunk, tokens, their positions, what is kept) to what is kept and the logits after the tokens."""


class Rows(NamedTuple):
  """What the host knows of S rows before a chunk."""

  problems: UInt32[np.ndarray, 'S 2']
  """Hash of the problem id."""
  indices: Int[np.ndarray, S]
  """Sample index."""
  place: Int[np.ndarray, S]
  """Which of its block's places holds the prompt."""
  prompt: Int[np.ndarray, S]
  """Columns of that place in use: the prompt's ids but the last."""
  length: Int[np.ndarray, S]
  """Tokens that it drew in earlier chunks; whole chunks of them."""
  last: Int[np.ndarray, S]
  """The next token to feed: the last drawn, or the prompt's last."""
  left: Int[np.ndarray, S]
  """How many tokens it may still draw; 0: the slot is idle."""
  state: Int[np.ndarray, S]
  """Of the stop strings' automaton."""


class Drawn(NamedTuple):
  """What a chunk drew."""

  tokens: Int[Array, 'S C']
  """-1 once a row has ended."""
  logprobs: Float[Array, 'S C']
  state: Int[Array, S]
  ended: Bool[Array, S]
  """The last token is a stop id or completes a stop string."""


class Stops(NamedTuple):
  """What ends a row."""

  ids: Int[Array, I]
  table: Int[Array, 'Q V'] | None
  """Of `stops.table`; None: there are no stop strings."""


def draw_chunk(
  feed: Feed,
  kept: Kept,
  rows: Rows,
  key: Key[Array, ''],
  stops: Stops,
  *,
  start: int,
  steps: int,
  rule: Rule,
  mesh: Mesh,
) -> tuple[Kept, Drawn]:
  """Draws up to `steps` tokens in every row that may draw; ends early when none may.

  Args:
    feed: a step of the model.
    kept: what the first step is handed.
    rows: before the chunk.
    key: of the run.
    stops: what ends a row.
    start: length of what was read before every prompt.
    steps: of the chunk.
    rule: how a token is drawn.
    mesh: over which the rows are split.
  """
  keys = row_keys(key, rows.problems, rows.indices)
  slots = rows.left.shape[0]
  first = start + rows.prompt + rows.length  # Position of the first token that is fed.

  def step(carry):
    i, last, active, state, tokens, logprobs, kept = carry
    kept, logits = feed(i, last[:, None], (first + i)[:, None], kept)
    token, logprob = draw(sharding.keep_logits(logits, mesh), keys, first + i + 1, rule)
    ended = jnp.isin(token, stops.ids)
    if stops.table is not None:
      state = jnp.where(active, stops.table[state, token], state)
      ended |= state == stops.table.shape[0] - 1
    tokens = tokens.at[:, i].set(jnp.where(active, token, -1))
    logprobs = logprobs.at[:, i].set(jnp.where(active, logprob, 0.0))
    last = jnp.where(active, token, last)
    active &= ~ended & (i + 1 < rows.left)
    per_row = jax.lax.with_sharding_constraint((last, active, state, tokens, logprobs), sharding.rows(mesh))
    return i + 1, *per_row, kept

  carry = 0, rows.last, rows.left > 0, rows.state, jnp.full((slots, steps), -1), jnp.zeros((slots, steps)), kept
  _, last, _, state, tokens, logprobs, kept = jax.lax.while_loop(lambda c: (c[0] < steps) & c[2].any(), step, carry)
  ended = jnp.isin(last, stops.ids)
  if stops.table is not None:
    ended |= state == stops.table.shape[0] - 1
  drawn = Drawn(tokens, logprobs, state, ended)
  if mesh.is_multi_process:  # Each process looks at all rows.
    drawn = jax.lax.with_sharding_constraint(drawn, sharding.replicated(mesh))
  return kept, drawn
