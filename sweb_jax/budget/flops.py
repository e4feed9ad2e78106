"""FLOPs of a Gemma forward pass by its shape: every multiplication with a weight, and attention over the keys it sees.

A multiplication with its addition counts as 2, as XLA's cost analysis counts them. The embedding is looked up, which
multiplies nothing; its matrix is multiplied once, as the output layer, for tokens that are drawn. Norms, soft caps,
softmax and rotations are left out: they grow with D where the matrices grow with D^2.
"""

from __future__ import annotations

from sweb_jax.models.config import ModelConfig


def read_flops(config: ModelConfig, start: int, tokens: int) -> int:
  """FLOPs to compute `tokens` tokens after the first `start`, without output logits: a prompt's prefill."""
  return tokens * _matrices(config) + _attention(config, start, tokens)


def draw_flops(config: ModelConfig, start: int, tokens: int) -> int:
  """FLOPs to draw `tokens` tokens after a text of `start` tokens, whose last one is not yet computed.

  Each is one decode step: the token before it is fed, which sees itself and all before, and the logits are computed.
  """
  return read_flops(config, start - 1, tokens) + tokens * 2 * config.embedding_parameters


def _matrices(config: ModelConfig) -> int:
  """A token's multiplications with the weights of all layers."""
  attention = config.width * config.head_width * (2 * config.heads + 2 * config.kv_heads)
  return 2 * config.layers * (attention + 3 * config.width * config.hidden)


def _attention(config: ModelConfig, start: int, tokens: int) -> int:
  """Scores and weighted values: 2 * 2 * N * H for each key that each of the tokens sees, its own included."""
  seen = 0
  for layer in range(config.layers):
    window = config.window if config.is_local(layer) else None
    seen += _keys(start + tokens, window) - _keys(start, window)
  return 4 * config.heads * config.head_width * seen


def _keys(tokens: int, window: int | None) -> int:
  """Keys that the first `tokens` tokens see in all: 1 + 2 + ..., each at most `window`."""
  ramp = tokens if window is None else min(tokens, window)
  return ramp * (ramp + 1) // 2 + (tokens - ramp) * (window or 0)
