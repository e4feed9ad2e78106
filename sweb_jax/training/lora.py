"""Low-rank adapters (LoRA, arXiv 2106.09685): a trained product of two thin matrices on top of frozen weights."""

from __future__ import annotations

import dataclasses
import math
import re
from collections.abc import Mapping
from typing import Any

import jax
import jax.numpy as jnp

from sweb_jax.models.decoder import Params
from sweb_jax.models.rules import FACTORS

Adapters = Mapping[str, Any]
"""The tree of parameters with {'a', 'b'} in place of each adapted weight, and without the others."""


class LoraError(ValueError):
  """Adapters that cannot be made; the message says what may be adapted."""


@dataclasses.dataclass(frozen=True)
class Lora:
  """Which weights get adapters. The weights used are `w + alpha / rank * a b`; b starts at 0."""

  rank: int
  alpha: float
  targets: str
  """Regular expression, sought in the names of parameters."""


def adapted(params: Params, lora: Lora) -> list[tuple[int, str, Any]]:
  """(Number among all, name, weight) of what gets an adapter; of shapes as of arrays.

  Raises:
    LoraError: no weight, or one that is no projection, has a name that `targets` is found in.
  """
  found = [(number, name, w) for number, (name, w) in enumerate(_named(params)) if re.search(lora.targets, name)]
  for _, name, _ in found:
    _factors(name)
  if not found:
    raise LoraError(f'config.train.lora.targets={lora.targets!r} is found in no name; names end in {_ENDINGS}')
  return found


def init(params: Params, lora: Lora, key: jax.Array) -> Adapters:
  """Fresh adapters in float32, under which the model is still what it was. Raises LoraError as `adapted`."""
  tree: dict[str, Any] = {}
  for number, name, w in adapted(params, lora):
    a, b = _shapes(name, w.shape, lora.rank)
    node = tree
    for part in name.split('/'):
      node = node.setdefault(part, {})
    normal = jax.random.normal(jax.random.fold_in(key, number), a, jnp.float32)
    node |= {'a': normal * math.prod(a[:-1]) ** -0.5, 'b': jnp.zeros(b, jnp.float32)}
  return tree


def merge(params: Params, adapters: Adapters, lora: Lora) -> Params:
  """Plain weights with the adapters in them, as every other part of the project takes them."""

  def walk(params, adapters, prefix):
    if adapters.keys() == {'a', 'b'}:
      delta = jnp.einsum(_factors(prefix), adapters['a'], adapters['b'])
      return (params + lora.alpha / lora.rank * delta).astype(params.dtype)
    return {
      k: walk(v, adapters[k], f'{prefix}/{k}' if prefix else k) if k in adapters else v for k, v in params.items()
    }

  return walk(params, adapters, '')


_ENDINGS = ', '.join(re.sub(r'[?$]', '', pattern) for pattern, _ in FACTORS)


def _named(params: Params) -> list[tuple[str, Any]]:
  leaves = jax.tree.leaves_with_path(params)
  return [(jax.tree_util.keystr(path, simple=True, separator='/'), w) for path, w in leaves]


def _factors(name: str) -> str:
  how = next((how for pattern, how in FACTORS if re.search(pattern, name)), None)
  if how is None:
    raise LoraError(f'config.train.lora.targets is found in {name}, which is no projection; those end in {_ENDINGS}')
  return how


def _shapes(name: str, shape: tuple[int, ...], rank: int) -> tuple[tuple[int, ...], tuple[int, ...]]:
  """Of both factors."""
  factors, whole = _factors(name).split('->')
  sizes = dict(zip(whole, shape, strict=True), r=rank)
  a, b = factors.split(',')
  return tuple(sizes[x] for x in a), tuple(sizes[x] for x in b)
