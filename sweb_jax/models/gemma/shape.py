"""The shape of a Gemma: one description of Gemma 1, 2 and 3 (text), whose fields say in which they differ. No JAX."""

from __future__ import annotations

import dataclasses
import functools
from typing import Annotated, Literal, Self

import pydantic
import pydantic.dataclasses
from pydantic import Field

from sweb_jax.models.decoder import Attention

# Ranges keep every Gemma with room to spare, and what a damaged or hostile file says out: sizes that no memory holds,
# and values with which the forward pass divides by zero.
Size = Annotated[int, Field(ge=1, le=2**24)]
Layers = Annotated[int, Field(ge=1, le=1000)]
Window = Annotated[int, Field(ge=1, le=2**31 - 1)]
"""Positions are int32."""
Cap = Annotated[float, Field(gt=0, le=1e6)]
Base = Annotated[float, Field(ge=1, le=1e12)]
Scale = Annotated[float, Field(ge=1, le=1e6)]
Epsilon = Annotated[float, Field(gt=0, le=0.1)]


STRICT = pydantic.ConfigDict(strict=True, extra='forbid', allow_inf_nan=False)
"""No value is made to fit a type, no field is unknown, no number is infinite."""


@pydantic.dataclasses.dataclass(frozen=True, config=STRICT)
class Shape:
  """The numbers of one Gemma's architecture.

  Types and ranges of the fields are checked wherever one is made, and a file that gives others is refused by the name
  of the field. Letters in shapes: V vocabulary, D width, F hidden, N heads, K KV heads, H head width.

  Raises:
    ValueError: a field is of the wrong type or out of its range, or two do not fit together.
  """

  vocab_size: Size
  """V, rows of the (tied) embedding table."""
  width: Size
  """D, width of the residual stream."""
  hidden: Size
  """F, width of the gated feed-forward layer."""
  layers: Annotated[int, Field(ge=0, le=1000)]
  heads: Size
  """N, query heads."""
  kv_heads: Size
  """K, key and value heads; divides `heads`."""
  head_width: Size
  """H."""
  pattern: Annotated[tuple[Literal['local', 'global'], ...], Field(min_length=1, max_length=1000)] = ('global',)
  """Attention of each layer, 'local' or 'global', repeated over the layers."""
  window: Window | None = None
  """Keys a local layer sees, the query's own included."""
  attn_softcap: Cap | None = None
  """Attention logits become cap * tanh(logits / cap) (Gemma 2)."""
  final_softcap: Cap | None = None
  """The same for the output logits (Gemma 2)."""
  post_norms: bool = True
  """RMSNorm also after attention and feed-forward (Gemma 2 and 3)."""
  qk_norm: bool = False
  """RMSNorm on queries and keys (Gemma 3)."""
  query_scale: Annotated[float, Field(gt=0, le=1e3)] | None = None
  """Factor on the queries; None is 1 / sqrt(H). Gemma 2 and 3 27B use 1 / sqrt(D / N)."""
  rope_base: Base = 10_000.0
  """RoPE base of global layers."""
  rope_scale: Scale = 1.0
  """Global positions are divided by it (Gemma 3 from 4B: 8)."""
  local_rope_base: Base = 10_000.0
  transpose_gating: bool = True
  """The gating weights are [2, F, D] in the gemma library's tree (else [2, D, F])."""
  norm_eps: Epsilon = 1e-6

  def __post_init__(self):
    if self.heads % self.kv_heads:
      raise ValueError(f'heads={self.heads} must be a multiple of kv_heads={self.kv_heads}')
    if self.head_width % 2:
      raise ValueError(f'head_width={self.head_width} must be even: RoPE turns it in pairs')
    if 'local' in self.pattern and not self.window:
      raise ValueError('a pattern with local layers needs a window')

  def is_local(self, layer: int) -> bool:
    """Whether layer number `layer` (from 0) attends within the window only."""
    return self.pattern[layer % len(self.pattern)] == 'local'

  def shortened(self, layers: int) -> Self:
    """The same with the first so many layers."""
    return dataclasses.replace(self, layers=layers)

  @property
  def fused_qkv(self) -> bool:
    """The tree holds one `qkv_einsum` (multi-head attention) instead of `q_einsum` and `kv_einsum`."""
    return self.heads == self.kv_heads

  @property
  def parameters(self) -> int:
    """Number of parameters, the tied embedding counted once."""
    norms = self.width * (4 if self.post_norms else 2) + (2 * self.head_width if self.qk_norm else 0)
    return self.embedding_parameters + self.matrix_parameters + self.layers * norms + self.width

  @property
  def active_parameters(self) -> int:
    """All: every token goes through every weight."""
    return self.parameters

  @property
  def matrix_parameters(self) -> int:
    """Weights of the layers that each token is multiplied with."""
    attention = self.width * self.head_width * (2 * self.heads + 2 * self.kv_heads)
    return self.layers * (attention + 3 * self.width * self.hidden)

  @property
  def embedding_parameters(self) -> int:
    """Of the tied embedding, which is the output layer too."""
    return self.vocab_size * self.width

  @functools.cached_property
  def attention(self) -> tuple[Attention, ...]:
    """Of each layer."""
    windows = (self.window if self.is_local(layer) else None for layer in range(self.layers))
    return tuple(Attention(self.heads, self.kv_heads, self.head_width, window) for window in windows)
