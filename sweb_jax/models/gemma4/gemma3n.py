"""The numbers of a Gemma 3n, text only. No JAX."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Annotated, Any, Literal

import pydantic.dataclasses
from pydantic import Field

from sweb_jax.models.gemma.shape import STRICT, Cap, Size
from sweb_jax.models.gemma4.shape import Layered, Leaf, Share, factor

STREAMS = 4
"""A; the library has as many modalities between which their coefficients are mixed."""


@pydantic.dataclasses.dataclass(frozen=True, config=STRICT)
class Gemma3nShape(Layered):
  """Four residual streams, of which a layer computes one and corrects the others (AltUp, arXiv 2301.13310), and a
  low-rank path beside attention (LAuReL, arXiv 2411.07501)."""

  family: Literal['gemma3n'] = 'gemma3n'
  """Tells the fields of a saved shape from those of another family."""
  coefficient_clip: Cap = 120.0
  """Coefficients between streams lie within it."""
  laurel_rank: Size = 64
  """Rank of the path beside attention."""
  sparsity: Annotated[tuple[Share, ...], Field(max_length=1000)] = ()
  """Of each layer: the share of the gates that is cut off, if they are distributed normally; (): none."""

  def __post_init__(self):
    super().__post_init__()
    if self.heads == self.kv_heads:
      raise ValueError(f'kv_heads={self.kv_heads} must be fewer than heads={self.heads}')
    if not self.per_layer_width:
      raise ValueError('per_layer_width must be positive')
    if len(self.sparsity) not in (0, self.layers):
      raise ValueError(f'sparsity has {len(self.sparsity)} entries for layers={self.layers}')

  def _of_layers(self, layers: int) -> dict[str, Any]:
    return {'sparsity': self.sparsity[:layers]}

  def named(self) -> Iterator[tuple[str, Leaf]]:
    d = self.width
    yield from self._embedder(('per_layer_input_embedding', 'per_layer_input_projection'))
    for stream in range(STREAMS - 1):
      for name in (f'altup_projection_{stream}', f'altup_unembed_projection_{stream}'):
        yield f'{name}/{name}', Leaf((d, d), d, 'matrix')
    yield 'final_norm/scale', factor(d)
    for layer in range(self.layers):
      for name, leaf in self._layer(layer):
        yield f'layer_{layer}/{name}', leaf

  def _layer(self, layer: int) -> Iterator[tuple[str, Leaf]]:
    d, n, a, r, (k, h) = self.width, self.heads, STREAMS, self.laurel_rank, self.keys(layer)
    yield 'attn/q_einsum/w', Leaf((n, d, h), d, 'matrix')
    yield 'attn/query_norm/scale', factor(h)
    if self.source(layer) == layer:
      yield 'attn/kv_einsum/w', Leaf((2, k, d, h), d, 'matrix')
      yield 'attn/key_norm/scale', factor(h)
    yield 'attn/attn_vec_einsum/w', Leaf((n, h, d), n * h, 'matrix')
    yield 'altup/modality_router/w', Leaf((d, a), 1, 'matrix')  # The forward pass scales its input by 1 / D.
    yield 'altup/prediction_coefs', Leaf((a, a, a), a**2, 'matrix')
    yield 'altup/correction_coefs', Leaf((a, a), a, 'matrix')
    yield 'altup/correct_output_scale', factor(d)
    yield 'altup/router_norm_layer/scale', factor(d)
    yield 'laurel/linear_left/w', Leaf((d, r), d, 'matrix')
    yield 'laurel/linear_right/w', Leaf((r, d), r, 'matrix')
    yield from self._feed_forward('mlp', self.hidden)
    for norm in ('pre_attention', 'post_attention', 'post_laurel', 'pre_ffw', 'post_ffw'):
      yield f'{norm}_norm/scale', factor(d)
    yield from self._per_layer('per_layer_mapping/')
