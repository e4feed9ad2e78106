"""The numbers of a Gemma 4, text only. No JAX."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Annotated, Literal

import pydantic.dataclasses
from pydantic import Field

from sweb_jax.models.gemma.shape import STRICT, Size
from sweb_jax.models.gemma4.shape import Count, Layered, Leaf, factor


@pydantic.dataclasses.dataclass(frozen=True, config=STRICT)
class Gemma4Shape(Layered):
  """Global layers have keys of their own width, which may be the values too; a layer may be a mixture of experts."""

  family: Literal['gemma4'] = 'gemma4'
  """Tells the fields of a saved shape from those of another family."""
  global_kv_heads: Size = 1
  """K of global layers."""
  global_head_width: Size = 512
  """H of global layers."""
  keys_are_values: bool = False
  """Global layers have one projection for both."""
  global_rope_share: Annotated[float, Field(ge=0, le=1)] = 0.25
  """Share of a head of global layers that RoPE turns."""
  shared_hidden: Size | None = None
  """F of the layers that read keys of others; None: as the others'."""
  experts: Count = 0
  """E, of each layer, beside its feed-forward layer; 0: there are none."""
  chosen_experts: Count = 0
  """So many of them see a token."""
  expert_hidden: Count = 0
  """F of an expert."""

  def __post_init__(self):
    super().__post_init__()
    if not min(self.experts, 1) <= self.chosen_experts <= self.experts:
      raise ValueError(f'chosen_experts={self.chosen_experts} must be from 1 to experts={self.experts}')
    if bool(self.experts) != bool(self.expert_hidden):
      raise ValueError(f'experts={self.experts} with expert_hidden={self.expert_hidden}: give both or neither')
    if self.experts and self.shared_hidden:
      raise ValueError('shared_hidden: layers with experts are all alike')

  def keys(self, layer: int) -> tuple[int, int]:
    if self.is_local(layer):
      return self.kv_heads, self.head_width
    return self.global_kv_heads, self.global_head_width

  @property
  def _chosen(self) -> int:
    return self._size('expert') * self.chosen_experts // max(1, self.experts)

  def named(self) -> Iterator[tuple[str, Leaf]]:
    d = self.width
    yield from self._embedder(('per_layer_embeddings', 'per_layer_model_projection'))
    yield 'final_norm/scale', factor(d)
    for layer in range(self.layers):
      for name, leaf in self._layer(layer):
        yield f'layer_{layer}/{name}', leaf

  def _layer(self, layer: int) -> Iterator[tuple[str, Leaf]]:
    d, n, (k, h) = self.width, self.heads, self.keys(layer)
    reads = self.source(layer) != layer  # The library keeps the weights of the keys that it does not make.
    yield 'skip_scale', factor(1)
    yield 'attn/q_einsum/w', Leaf((n, d, h), d, 'matrix')
    if self.keys_are_values and not self.is_local(layer):
      yield 'attn/k_einsum/w', Leaf((k, d, h), d, 'idle' if reads else 'matrix')
    else:
      yield 'attn/kv_einsum/w', Leaf((2, k, d, h), d, 'idle' if reads else 'matrix')
    yield 'attn/attn_vec_einsum/w', Leaf((n, h, d), n * h, 'matrix')
    yield 'attn/query_norm/scale', factor(h)
    yield 'attn/key_norm/scale', Leaf((h,), 0, 'idle' if reads else 'factor')
    norms = ['pre_attention_norm', 'post_attention_norm', 'pre_ffw_norm', 'post_ffw_norm']
    if self.experts:
      e, f = self.experts, self.expert_hidden
      yield 'mlp/router_logits/w', Leaf((d, e), 1, 'matrix')  # The forward pass scales its input by 1 / sqrt(D).
      yield 'mlp/router_scale', factor(d)
      yield 'mlp/per_expert_scale', factor(e)
      yield 'mlp/gating_einsum/w', Leaf((e, 2, f, d), d, 'expert')
      yield 'mlp/linear/w', Leaf((e, f, d), f, 'expert')
      yield from self._feed_forward('mlp2', self.hidden)
      norms += ['post_ffw1_norm', 'pre_ffw2_norm', 'post_ffw2_norm']
    else:
      yield from self._feed_forward('mlp', self.shared_hidden if reads and self.shared_hidden else self.hidden)
    for norm in norms:
      yield f'{norm}/scale', factor(d)
    yield from self._per_layer('')
