"""FLOPs of a forward pass by its shape: every multiplication with a weight, and attention over the keys it sees.

A multiplication with its addition counts as 2, as XLA's cost analysis counts them. The embedding is looked up, which
multiplies nothing; its matrix is multiplied once, as the output layer, for tokens that are drawn. Norms, soft caps,
softmax and rotations are left out: they grow with D where the matrices grow with D^2.
"""

from __future__ import annotations

from sweb_jax.models.decoder import Decoder


def read_flops(config: Decoder, start: int, tokens: int) -> int:
  """FLOPs to compute `tokens` tokens after the first `start`, without output logits: a prompt's prefill."""
  return tokens * 2 * config.matrix_parameters + _attention(config, start, tokens)


def draw_flops(config: Decoder, start: int, tokens: int) -> int:
  """FLOPs to draw `tokens` tokens after a text of `start` tokens, whose last one is not yet computed.

  Each is one decode step: the token before it is fed, which sees itself and all before, and the logits are computed.
  """
  return read_flops(config, start - 1, tokens) + tokens * 2 * config.embedding_parameters


def _attention(config: Decoder, start: int, tokens: int) -> int:
  """Scores and weighted values: 2 * 2 * N * H for each key that each of the tokens sees, its own included."""
  return sum(
    4 * a.heads * a.head_width * (_keys(start + tokens, a.window) - _keys(start, a.window)) for a in config.attention
  )


def _keys(tokens: int, window: int | None) -> int:
  """Keys that the first `tokens` tokens see in all: 1 + 2 + ..., each at most `window`."""
  ramp = tokens if window is None else min(tokens, window)
  return ramp * (ramp + 1) // 2 + (tokens - ramp) * (window or 0)
