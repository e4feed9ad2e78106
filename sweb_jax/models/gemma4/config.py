"""Gemma 3n and Gemma 4 as decoders that the gemma library computes, and the named sizes.

A plan needs neither JAX nor the library: numbers, parameters and their shapes are known from the fields. The sizes are
the classes `Gemma3n_*` and `Gemma4_*` of the library's `gm.nn`, to which a test holds them, without images and sound.
"""

from __future__ import annotations

import functools
from typing import Any

import pydantic.dataclasses

from sweb_jax.models.decoder import Params
from sweb_jax.models.gemma.shape import STRICT
from sweb_jax.models.gemma4.gemma3n import Gemma3nShape
from sweb_jax.models.gemma4.gemma4 import Gemma4Shape
from sweb_jax.models.library_decoder import LibraryDecoder


class _Parameters:
  """The tree of parameters, from their shapes."""

  def shapes(self, dtype: Any = 'float32') -> Params:
    import jax

    return _nested({name: jax.ShapeDtypeStruct(leaf.shape, dtype) for name, leaf in self.leaves.items()})

  def init(self, key: Any, dtype: Any = 'float32') -> Params:
    """Fresh parameters: normal, scaled by 1 / sqrt(inputs); factors 1. The library's own would be near 0."""
    import jax
    import jax.numpy as jnp

    def one(number: int, leaf: Any) -> jax.Array:
      if not leaf.inputs:
        return jnp.ones(leaf.shape, dtype)
      normal = jax.random.normal(jax.random.fold_in(key, number), leaf.shape, dtype)
      return normal * jnp.asarray(leaf.inputs**-0.5, dtype)

    return _nested({name: one(number, leaf) for number, (name, leaf) in enumerate(self.leaves.items())})


@pydantic.dataclasses.dataclass(frozen=True, config=STRICT)
class Gemma4(_Parameters, LibraryDecoder, Gemma4Shape):
  """A Gemma 4 as a `CachedDecoder`. Raises ValueError as `Gemma4Shape` does."""

  @functools.cached_property
  def module(self) -> Any:
    """The library's flax module. Raises DecoderError."""
    from sweb_jax.models.gemma4 import modules

    return modules.gemma4(self)


@pydantic.dataclasses.dataclass(frozen=True, config=STRICT)
class Gemma3n(_Parameters, LibraryDecoder, Gemma3nShape):
  """A Gemma 3n as a `CachedDecoder`. Raises ValueError as `Gemma3nShape` does."""

  @functools.cached_property
  def module(self) -> Any:
    """The library's flax module. Raises DecoderError."""
    from sweb_jax.models.gemma4 import modules

    return modules.gemma3n(self)


def _nested(named: dict[str, Any]) -> dict[str, Any]:
  tree: dict[str, Any] = {}
  for name, x in named.items():
    *path, last = name.split('/')
    node = tree
    for part in path:
      node = node.setdefault(part, {})
    node[last] = x
  return tree


def _pattern(local: int) -> tuple[str, ...]:
  return ('local',) * local + ('global',)


def _gemma3n(hidden: int, layers: int) -> Gemma3n:
  return Gemma3n(
    262_144, 2048, hidden, layers, 8, 2, 256, _pattern(4), 512, per_layer_width=256, shared_layers=layers - 20,
    sparsity=(0.95,) * 10 + (0.0,) * (layers - 10),
  )  # fmt: skip


SIZES = {
  'gemma3n_e2b': _gemma3n(8192, 30),
  'gemma3n_e4b': _gemma3n(16_384, 35),
  'gemma4_e2b': Gemma4(
    262_144, 1536, 6144, 35, 8, 1, 256, _pattern(4), 512, 30.0, per_layer_width=256, shared_layers=20,
    shared_hidden=12_288,
  ),
  'gemma4_e4b': Gemma4(
    262_144, 2560, 10_240, 42, 8, 2, 256, _pattern(5), 512, 30.0, per_layer_width=256, shared_layers=18,
    global_kv_heads=2,
  ),
  'gemma4_26b_a4b': Gemma4(
    262_144, 2816, 2112, 30, 16, 8, 256, _pattern(5), 1024, 30.0, global_kv_heads=2, keys_are_values=True,
    experts=128, chosen_experts=8, expert_hidden=704,
  ),
  'gemma4_31b': Gemma4(
    262_144, 5376, 21_504, 60, 32, 16, 256, _pattern(5), 1024, 30.0, global_kv_heads=4, keys_are_values=True,
  ),
}  # fmt: skip

ABSENT = {'gemma4_12b': 'Gemma 4 12B is none of the sizes of the gemma library, which alone computes Gemma 4 here'}
"""Sizes that are refused by name, and why."""


def facts(c: Gemma3n | Gemma4) -> dict[str, str]:
  """What an architecture is, for people: name to text."""
  size = next((name for name, size in SIZES.items() if size == c), 'of no named size')
  local = [c.is_local(layer) for layer in range(c.layers)]
  far = c.attention[local.index(False)] if False in local else c.attention[0]
  experts = 'none'
  if isinstance(c, Gemma4) and c.experts:
    experts = f'{c.experts} of width {c.expert_hidden}, {c.chosen_experts} a token'
  return {
    'architecture': f'{type(c).__name__}, {size}; computed by the gemma library only',
    'layers': f'{c.layers}, {sum(local)} of them local with a window of {c.window}; the last {c.shared_layers} read '
    'keys of earlier ones',
    'shape': f'width {c.width}, hidden {c.hidden}, {c.heads} heads of {c.head_width}, {c.kv_heads} for keys; global '
    f'layers {far.head_width} and {far.kv_heads}; input by layer {c.per_layer_width}',
    'experts': experts,
  }
