"""The numbers of a Gemma 3n or Gemma 4, text only: models whose layers differ by more than their window. No JAX.

Facts: the gemma library's `gm.nn.gemma3n` and `gm.nn.gemma4`. What both have is in `Layered`.
"""

from __future__ import annotations

import dataclasses
import functools
import math
from collections.abc import Iterator
from typing import Annotated, Any, Literal, NamedTuple, Self

import pydantic.dataclasses
from pydantic import Field

from sweb_jax.models.decoder import Attention
from sweb_jax.models.gemma.shape import STRICT, Base, Cap, Layers, Size, Window

Count = Annotated[int, Field(ge=0, le=2**24)]
Share = Annotated[float, Field(ge=0, lt=1)]


class Leaf(NamedTuple):
  """A parameter."""

  shape: tuple[int, ...]
  inputs: int
  """Over how many numbers its product sums, for `init`; 0: a factor, which begins as 1."""
  kind: Literal['matrix', 'expert', 'factor', 'output', 'table', 'idle']
  """Every token is multiplied with a matrix, and of experts with the chosen ones; factors are vectors of norms and the
  like. The output layer's table is looked up, too; a table is looked up only; what is idle nothing reads."""


@pydantic.dataclasses.dataclass(frozen=True, config=STRICT)
class Layered:
  """What Gemma 3n and 4 have in common.

  Types and ranges are checked as those of `gemma.shape.Shape`. The last `shared_layers` layers make no keys and values
  but read those of the last layer of their kind before them. Each layer may add a vector of its own that it looks up
  by the token (`per_layer_width`).

  Raises:
    ValueError: a field is of the wrong type or out of its range, or two do not fit together.
  """

  vocab_size: Size
  """V, rows of the (tied) embedding table, and of the table by layer."""
  width: Size
  """D, width of the residual stream."""
  hidden: Size
  """F, width of the gated feed-forward layer."""
  layers: Layers
  heads: Size
  """N, query heads."""
  kv_heads: Size
  """K, key and value heads; divides `heads`."""
  head_width: Size
  """H."""
  pattern: Annotated[tuple[Literal['local', 'global'], ...], Field(min_length=1, max_length=1000)]
  """Attention of each layer, repeated over the layers."""
  window: Window
  """Keys a local layer sees, the query's own included."""
  final_softcap: Cap | None = None
  """Output logits become cap * tanh(logits / cap)."""
  rope_base: Base = 1_000_000.0
  """RoPE base of global layers."""
  local_rope_base: Base = 10_000.0
  per_layer_width: Count = 0
  """P, width of the input that each layer looks up; 0: none does."""
  shared_layers: Count = 0
  """The last so many read the keys and values of earlier ones."""

  def __post_init__(self):
    if self.head_width % 2:
      raise ValueError(f'head_width={self.head_width} must be even: RoPE turns it in pairs')
    for layer, a in enumerate(self.attention):
      if a.heads % a.kv_heads:
        raise ValueError(f'{a.kv_heads} key heads of layer {layer} must divide heads={a.heads}')
    first = self.layers - self.shared_layers
    if self.shared_layers and not (first >= 2 and self.is_local(first - 2) and not self.is_local(first - 1)):
      raise ValueError(
        f'shared_layers={self.shared_layers}: the two layers before them must be a local and a global one, whose keys '
        'they read'
      )

  def is_local(self, layer: int) -> bool:
    """Whether layer number `layer` (from 0) attends within the window only."""
    return self.pattern[layer % len(self.pattern)] == 'local'

  def source(self, layer: int) -> int:
    """The layer whose keys and values this one reads."""
    first = self.layers - self.shared_layers
    return layer if layer < first else first - (2 if self.is_local(layer) else 1)

  def shortened(self, layers: int) -> Self:
    """The same with so many layers, of which as large a share reads the keys of earlier ones, after whole periods."""
    if layers == self.layers:
      return self
    period, own = len(self.pattern), self.layers - self.shared_layers
    first = max(1, round(layers * own / self.layers / period)) * period
    shared = max(0, layers - first) if self.shared_layers else 0
    return dataclasses.replace(self, layers=layers, shared_layers=shared, **self._of_layers(layers))

  def _of_layers(self, layers: int) -> dict[str, Any]:
    """Fields with an entry a layer, for the first so many."""
    del layers
    return {}

  def keys(self, layer: int) -> tuple[int, int]:
    """K and H of a layer."""
    del layer
    return self.kv_heads, self.head_width

  @functools.cached_property
  def attention(self) -> tuple[Attention, ...]:
    """Of each layer."""
    windows = {True: self.window, False: None}
    return tuple(
      Attention(self.heads, *self.keys(layer), windows[self.is_local(layer)], self.source(layer) == layer)
      for layer in range(self.layers)
    )

  def named(self) -> Iterator[tuple[str, Leaf]]:
    """Every parameter of the gemma library's tree, as 'layer_0/mlp/linear'."""
    raise NotImplementedError

  @functools.cached_property
  def leaves(self) -> dict[str, Leaf]:
    """The parameters by name."""
    return dict(self.named())

  def _size(self, *kinds: str) -> int:
    return sum(math.prod(leaf.shape) for leaf in self.leaves.values() if leaf.kind in kinds)

  @property
  def _chosen(self) -> int:
    """Weights of the experts that a token has to do with."""
    return 0

  @functools.cached_property
  def parameters(self) -> int:
    """Number of parameters, the tied embedding counted once."""
    return self._size('matrix', 'expert', 'factor', 'output', 'table', 'idle')

  @functools.cached_property
  def active_parameters(self) -> int:
    """Those that a token has to do with: no table that is only looked up, of experts the chosen ones."""
    return self._size('matrix', 'factor', 'output') + self._chosen

  @functools.cached_property
  def matrix_parameters(self) -> int:
    """Weights that each token is multiplied with, those of the output layer aside."""
    return self._size('matrix') + self._chosen

  @property
  def embedding_parameters(self) -> int:
    """Of the tied embedding, which is the output layer too."""
    return self.vocab_size * self.width

  def _embedder(self, names: tuple[str, str]) -> Iterator[tuple[str, Leaf]]:
    """The embedder's; `names` are those of the table by layer and of the projection that is added to it."""
    v, d, n, p = self.vocab_size, self.width, self.layers, self.per_layer_width
    yield 'embedder/input_embedding', Leaf((v, d), d, 'output')
    if p:
      yield f'embedder/{names[0]}', Leaf((v, n, p), p, 'table')
      yield f'embedder/{names[1]}/w', Leaf((d, n, p), 1, 'matrix')  # The forward pass scales it by 1 / sqrt(D).
      yield 'embedder/per_layer_projection_norm/scale', factor(p)

  def _feed_forward(self, name: str, hidden: int) -> Iterator[tuple[str, Leaf]]:
    yield f'{name}/gating_einsum', Leaf((2, hidden, self.width), self.width, 'matrix')
    yield f'{name}/linear', Leaf((hidden, self.width), hidden, 'matrix')

  def _per_layer(self, at: str) -> Iterator[tuple[str, Leaf]]:
    """What a layer does with the input that it looked up; `at` goes before the names."""
    d, p = self.width, self.per_layer_width
    if p:
      yield f'{at}per_layer_input_gate/w', Leaf((d, p), d, 'matrix')
      yield f'{at}per_layer_projection/w', Leaf((p, d), p, 'matrix')
      yield f'{at}post_per_layer_input_norm/scale', factor(d)


def factor(width: int) -> Leaf:
  return Leaf((width,), 0, 'factor')
