"""What the device does for a `CachedDecoder`: prompts, and a chunk of decode steps, in the decoder's own cache.

Every row has the columns of its prompt, then those of its completion. All rows write at one column, so the completion's
columns are a ring: each step takes the next one for the whole batch, whenever a row began. A row draws at most as many
tokens as the ring has columns, so it never loses one that it needs. Which columns a row sees follows from how many
tokens it was fed. (Where in the ring a row begins depends on its neighbours: its text does not, but for the rounding of
sums in another order.) A slot's samples of one problem come one after another and read its prompt once.

Letters in shapes: S slots, R prompts, L columns of a prompt, C steps of a chunk; else as in `models.decoder`.
"""

from __future__ import annotations

import functools
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jax.sharding import Mesh, NamedSharding, PartitionSpec
from jaxtyping import Array, Int, Key

from sweb_jax.models import sharding
from sweb_jax.models.decoder import Cache, CachedDecoder, Params
from sweb_jax.sampling.chunk import Drawn, Rows, Stops, draw_chunk
from sweb_jax.sampling.rule import Rule

PROMPT_TOKENS = 2048
"""Of prompts in one call, on each part of the devices: with a mixture of experts every device has the rows of all."""


class OwnCache:
  """The engine's cache while it runs.

  Args:
    params: on the mesh.
    config: the decoder.
    mesh: slots are split over its `data` and `fsdp` axes, KV heads over `tensor`.
    slots: rows decoded together.
    prompt_columns: of a slot.
    completion_columns: of a slot; whole chunks.
  """

  def __init__(
    self,
    params: Params,
    config: CachedDecoder,
    mesh: Mesh,
    *,
    slots: int,
    prompt_columns: int,
    completion_columns: int,
  ):
    self._config, self._mesh = config, mesh
    self._prompt_columns, self._completion_columns = prompt_columns, completion_columns
    dtype = jax.tree.leaves(params)[0].dtype
    make = functools.partial(config.init_cache, slots, prompt_columns + completion_columns, dtype)
    self._cache = jax.jit(make, out_shardings=cache_sharding(jax.eval_shape(make), mesh))()
    self._next = 0

  def prefill(self, params: Params, tokens: Int[np.ndarray, 'R L'], targets: Int[np.ndarray, R]) -> None:
    """Computes prompts, padded at the end, each for its slot."""
    self._cache = prefill(params, self._cache, tokens, targets, config=self._config, mesh=self._mesh)

  def decode(self, params: Params, rows: Rows, key: Key[Array, ''], stops: Stops, *, steps: int, rule: Rule) -> Drawn:
    """Draws a chunk."""
    begin = np.int32(self._next)
    self._next = (self._next + steps) % self._completion_columns
    how = dict(prompt_columns=self._prompt_columns, steps=steps, rule=rule, config=self._config, mesh=self._mesh)
    self._cache, drawn = decode(params, self._cache, rows, key, stops, begin, **how)
    return drawn


def cache_sharding(cache: Cache, mesh: Mesh) -> Any:
  """Slots over `data` and `fsdp`; KV heads, the dimension before the last of keys and values, over `tensor`.

  A layer whose heads do not divide is whole on each device of `tensor`.
  """

  def one(x):
    axes = (('data', 'fsdp'), None, sharding.kv_axis(mesh, x.shape[2])) if x.ndim == 4 else (('data', 'fsdp'),)
    return NamedSharding(mesh, PartitionSpec(*axes))

  return jax.tree.map(one, cache)


@functools.partial(jax.jit, static_argnames=('config', 'mesh'), donate_argnames=('cache',))
def prefill(
  params: Params,
  cache: Cache,
  tokens: Int[Array, 'R L'],
  targets: Int[Array, R],
  *,
  config: CachedDecoder,
  mesh: Mesh,
) -> Cache:
  """Computes R prompts in a cache of their own and copies each to the first columns of its slot, a row of `cache`."""
  tokens = jax.lax.with_sharding_constraint(tokens, sharding.rows(mesh))
  rows, length = tokens.shape
  positions = jnp.broadcast_to(jnp.arange(length, dtype=jnp.int32), tokens.shape)
  causal = jnp.broadcast_to(jnp.tri(length, dtype=bool), (rows, length, length))  # No real token sees the padding.
  fresh = config.init_cache(rows, length, jax.tree.leaves(params)[0].dtype)
  fresh, _ = config.step(params, fresh, tokens, positions, causal, jnp.int32(0))

  def write(old, new, where):
    if old.ndim == 1:
      return old
    # A slot may be on any device: all prompts go everywhere first. Heads stay where they are, or every device would
    # compute those of all.
    everywhere = NamedSharding(mesh, PartitionSpec(None, *where.spec[1:]))  # In the loop too, else once for each row.
    new = jax.lax.with_sharding_constraint(new, everywhere)

    def put(row, carry):
      kept, new = carry
      kept = jax.lax.dynamic_update_slice(kept, new[row][None], (targets[row], *[0] * (old.ndim - 1)))
      return kept, jax.lax.with_sharding_constraint(new, everywhere)

    return jax.lax.fori_loop(0, rows, put, (old, new))[0]

  cache = jax.tree.map(write, cache, fresh, cache_sharding(fresh, mesh))
  return jax.lax.with_sharding_constraint(cache, cache_sharding(cache, mesh))


@functools.partial(
  jax.jit, static_argnames=('prompt_columns', 'steps', 'rule', 'config', 'mesh'), donate_argnames=('cache',)
)
def decode(
  params: Params,
  cache: Cache,
  rows: Rows,
  key: Key[Array, ''],
  stops: Stops,
  begin: Int[Array, ''],
  *,
  prompt_columns: int,
  steps: int,
  rule: Rule,
  config: CachedDecoder,
  mesh: Mesh,
) -> tuple[Cache, Drawn]:
  """Draws up to `steps` tokens in every row that may draw; the first is fed at column `begin` of the ring."""
  rows = jax.lax.with_sharding_constraint(rows, sharding.rows(mesh))
  shardings = cache_sharding(cache, mesh)
  ring = next(x.shape[1] for x in jax.tree.leaves(cache) if x.ndim > 1) - prompt_columns
  in_prompt = jnp.arange(prompt_columns) < rows.prompt[:, None]

  def feed(i, tokens, positions, cache):
    age = (begin + i - jnp.arange(ring)) % ring  # Steps since a column was written; 0 is the one to be written now.
    seen = jnp.concatenate([in_prompt, age <= (rows.length + i)[:, None]], axis=1)[:, None]
    column = prompt_columns + (begin + i) % ring
    cache, logits = config.step(params, cache, tokens, positions, seen, column)
    return jax.lax.with_sharding_constraint(cache, shardings), logits

  return draw_chunk(feed, cache, rows, key, stops, start=0, steps=steps, rule=rule, mesh=mesh)
