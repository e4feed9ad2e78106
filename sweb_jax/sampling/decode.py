"""What the device does for the engine: the shared prefix, prompts, and a chunk of decode steps.

A row attends to four pieces of keys and values, never joined: the prefix that all rows share, its problem's prompt,
what it drew in earlier chunks, and what it draws in this one.

- The prefix has no batch dimension: a step reads it once for all rows.
- Slots stand in blocks of b neighbours, and a block has places for a few prompts. Rows of one problem share its
  place; a step reads a block's places once for its b rows, each of which sees its own.
- All rows are at the same step of a chunk, so the current piece is written at one column for the whole batch, in
  place; a write at each row's own column would copy the cache. A row enters at the start of a chunk, so that which
  token lies where depends on the row alone, whoever its neighbours are. (Its prompt's place is theirs to choose; the
  keys of other places weigh exactly 0, but where they stand between may change the rounding of a sum.)

Letters in shapes: S slots, Z blocks, Tp columns of a place, P prefix length, C steps of a chunk; else as in
`models.transformer`.
"""

from __future__ import annotations

import functools
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jax.sharding import Mesh, NamedSharding, PartitionSpec
from jaxtyping import Array, Bool, Float, Int, Key, UInt32

from sweb_jax.models import sharding, transformer
from sweb_jax.models.cached_attention import LayerKV, Segment, attention, cached
from sweb_jax.models.config import ModelConfig
from sweb_jax.sampling.rule import Rule, draw, row_keys

Prefix = tuple[LayerKV, ...]
"""Keys and values [K, H, P] and [K, P, H] a layer; P of a local layer is what its window can reach."""


class Cache(NamedTuple):
  """Keys and values that live from call to call; donated to each."""

  prompts: tuple[LayerKV, ...]
  """[Z, K, H, places * Tp] and [Z, K, places * Tp, H] a layer."""
  completions: tuple[LayerKV, ...]
  """[S, K, H, T] and [S, K, T, H] a layer; T holds whole chunks."""


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
  """Columns of the completion cache in use."""
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


def empty(
  *,
  slots: int,
  blocks: int,
  prompt_columns: int,
  completion_columns: int,
  dtype: jnp.dtype,
  config: ModelConfig,
  mesh: Mesh,
) -> Cache:
  """A cache in which nothing is of use. `prompt_columns` is a block's width, all its places together."""
  kv = kv_sharding(config, mesh)

  def layers(n, width):
    k, v = (n, config.kv_heads, config.head_width, width), (n, config.kv_heads, width, config.head_width)
    return tuple((jnp.zeros(k, dtype, device=kv), jnp.zeros(v, dtype, device=kv)) for _ in range(config.layers))

  return Cache(layers(blocks, prompt_columns), layers(slots, completion_columns))


def kv_sharding(config: ModelConfig, mesh: Mesh) -> NamedSharding:
  """Slots and blocks over `data` and `fsdp`, KV heads over `tensor` where they divide."""
  return NamedSharding(mesh, PartitionSpec(('data', 'fsdp'), _heads(config, mesh)))


def prefix_sharding(config: ModelConfig, mesh: Mesh) -> NamedSharding:
  """Of the shared prefix: KV heads over `tensor` where they divide."""
  return NamedSharding(mesh, PartitionSpec(_heads(config, mesh)))


def _heads(config: ModelConfig, mesh: Mesh) -> str | None:
  return 'tensor' if config.kv_heads % mesh.shape['tensor'] == 0 else None


@functools.partial(jax.jit, static_argnames=('config', 'mesh'))
def prefix(params: transformer.Params, tokens: Int[Array, P], config: ModelConfig, mesh: Mesh) -> Prefix:
  """Keys and values of the shared prefix, without a batch dimension: on every device those of its heads."""
  kept = [None] * config.layers
  length = tokens.shape[0]
  positions = jnp.arange(length)[None]
  causal = transformer.causal_mask(length)[None]

  def attend(layer, q, k, v):
    # The first token after the prefix sees `window - 1` of its keys, every later one fewer.
    reach = min(length, config.window - 1) if config.is_local(layer) else length
    kept[layer] = jax.tree.map(lambda x: x[0], cached(k[:, length - reach :], v[:, length - reach :]))
    seen = causal & _seen(config, layer, positions, positions)
    return attention(config, q, [Segment((k, v), seen, fresh=True)])

  # One row: nothing to split over `data` and `fsdp`.
  transformer.run_blocks(params, config, tokens[None], positions, attend, inference=True, mesh=mesh, stationary=True)
  return jax.lax.with_sharding_constraint(tuple(kept), prefix_sharding(config, mesh))


def _seen(config: ModelConfig, layer: int, queries: Int[Array, '#B L'], keys: Int[Array, '#B T']):
  """Which earlier keys a layer lets each query see, by their positions."""
  if config.is_local(layer):
    return transformer.in_window(config, queries, keys)
  return jnp.ones((1, queries.shape[-1], keys.shape[-1]), bool)


def _prefix_segments(
  shared: Prefix | None, start: int, config: ModelConfig, layer: int, positions: Int[Array, '#B L']
) -> list[Segment]:
  """The shared prefix, if any, which ends before position `start`, as `positions` see it."""
  if shared is None:
    return []
  width = shared[layer][0].shape[-1]
  return [Segment(shared[layer], _seen(config, layer, positions, start - width + jnp.arange(width)[None]))]


@functools.partial(jax.jit, static_argnames=('start', 'places', 'config', 'mesh'), donate_argnames=('cache',))
def prefill(
  params: transformer.Params,
  shared: Prefix | None,
  cache: Cache,
  tokens: Int[Array, 'R L'],
  targets: Int[Array, R],
  *,
  start: int,
  places: int,
  config: ModelConfig,
  mesh: Mesh,
) -> Cache:
  """Computes R prompts, padded at the end, and writes each to its place, counted over all blocks.

  `start` is the length of the shared prefix.
  """
  tokens = jax.lax.with_sharding_constraint(tokens, sharding.rows(mesh))
  positions = jnp.broadcast_to(start + jnp.arange(tokens.shape[1]), tokens.shape)
  causal = transformer.causal_mask(tokens.shape[1])[None]  # Padding comes last: no real token sees it.
  kept = [None] * config.layers

  def attend(layer, q, k, v):
    kept[layer] = cached(k, v)
    segments = _prefix_segments(shared, start, config, layer, positions[:1])
    segments.append(Segment((k, v), causal & _seen(config, layer, positions[:1], positions[:1]), fresh=True))
    return attention(config, q, segments)

  transformer.run_blocks(
    params, config, tokens, positions, attend, inference=True, mesh=mesh, stationary=mesh.shape['fsdp'] > 1
  )
  width = cache.prompts[0][0].shape[-1] // places

  def write(old: LayerKV, new: LayerKV) -> LayerKV:
    # A row's place may be on any device: all rows go everywhere first, once a layer and not once a row.
    new = jax.lax.with_sharding_constraint(new, NamedSharding(mesh, PartitionSpec(None, _heads(config, mesh))))

    def put(row, kv):
      block, column = targets[row] // places, targets[row] % places * width
      k, v = (jax.lax.dynamic_slice_in_dim(x, row, 1) for x in new)
      at = (block, 0, 0, column), (block, 0, column, 0)
      return tuple(jax.lax.dynamic_update_slice(*args) for args in zip(kv, (k, v), at, strict=True))

    return jax.lax.fori_loop(0, tokens.shape[0], put, old)

  prompts = tuple(write(old, new) for old, new in zip(cache.prompts, kept, strict=True))
  return cache._replace(prompts=jax.lax.with_sharding_constraint(prompts, kv_sharding(config, mesh)))


@functools.partial(
  jax.jit, static_argnames=('start', 'steps', 'places', 'config', 'mesh', 'rule'), donate_argnames=('cache',)
)
def decode(
  params: transformer.Params,
  shared: Prefix | None,
  cache: Cache,
  rows: Rows,
  key: Key[Array, ''],
  stop_ids: Int[Array, I],
  stop_table: Int[Array, 'Q V'] | None,
  *,
  start: int,
  steps: int,
  places: int,
  config: ModelConfig,
  mesh: Mesh,
  rule: Rule,
) -> tuple[Cache, Drawn]:
  """Draws up to `steps` tokens in every row that may draw; ends early when none may.

  `start` is the length of the shared prefix; `stop_table` is `stops.table`'s, None without stop strings.
  """
  rows = jax.lax.with_sharding_constraint(rows, sharding.rows(mesh))
  keys = row_keys(key, rows.problems, rows.indices)
  slots = rows.left.shape[0]
  after_prompt = (start + rows.prompt)[:, None]
  first = start + rows.prompt + rows.length  # Position of the first token of this chunk.
  prompt_at = jnp.arange(cache.prompts[0][0].shape[-1])
  width = prompt_at.shape[0] // places
  completion_at, chunk_at = jnp.arange(cache.completions[0][0].shape[-1]), jnp.arange(steps)
  in_prompt = (prompt_at // width == rows.place[:, None]) & (prompt_at % width < rows.prompt[:, None])
  in_completion = completion_at < rows.length[:, None]

  def step(carry):
    i, last, active, state, tokens, logprobs, chunk = carry
    positions = (first + i)[:, None]
    chunk = list(chunk)

    def attend(layer, q, k, v):
      k, v = cached(k, v)
      ks, vs = chunk[layer]
      chunk[layer] = ks.at[..., i].set(k[..., 0]), vs.at[:, :, i].set(v[:, :, 0])

      def sees(keys):
        return _seen(config, layer, positions, keys)

      return attention(config, q, [
        *_prefix_segments(shared, start, config, layer, positions),
        Segment(cache.prompts[layer], in_prompt[:, None] & sees(start + prompt_at[None] % width)),
        Segment(cache.completions[layer], in_completion[:, None] & sees(after_prompt + completion_at)),
        Segment(chunk[layer], (chunk_at <= i) & sees(first[:, None] + chunk_at)),
      ])  # fmt: skip

    x = transformer.run_blocks(
      params, config, last[:, None], positions, attend, inference=True, mesh=mesh, stationary=mesh.shape['fsdp'] > 1
    )[:, 0]
    logits = sharding.keep_logits(transformer.logits(params, config, x), mesh)
    token, logprob = draw(logits, keys, first + i + 1, rule)
    ended = jnp.isin(token, stop_ids)
    if stop_table is not None:
      state = jnp.where(active, stop_table[state, token], state)
      ended |= state == stop_table.shape[0] - 1
    tokens = tokens.at[:, i].set(jnp.where(active, token, -1))
    logprobs = logprobs.at[:, i].set(jnp.where(active, logprob, 0.0))
    last = jnp.where(active, token, last)
    active &= ~ended & (i + 1 < rows.left)
    per_row = jax.lax.with_sharding_constraint((last, active, state, tokens, logprobs), sharding.rows(mesh))
    return i + 1, *per_row, jax.lax.with_sharding_constraint(tuple(chunk), kv_sharding(config, mesh))

  chunk = tuple((jnp.zeros_like(k[..., :steps]), jnp.zeros_like(v[:, :, :steps])) for k, v in cache.completions)
  carry = 0, rows.last, rows.left > 0, rows.state, jnp.full((slots, steps), -1), jnp.zeros((slots, steps)), chunk
  _, last, _, state, tokens, logprobs, chunk = jax.lax.while_loop(
    lambda c: (c[0] < steps) & c[2].any(), step, carry
  )
  ended = jnp.isin(last, stop_ids)
  if stop_table is not None:
    ended |= state == stop_table.shape[0] - 1

  # One pass over the cache a chunk, in place: the old values must not be reshaped for that.
  here = completion_at // steps == rows.length[:, None] // steps
  chunks = completion_at.shape[0] // steps

  def append(old: LayerKV, new: LayerKV) -> LayerKV:
    (k, v), (nk, nv) = old, new
    return (
      jnp.where(here[:, None, None, :], jnp.tile(nk, (1, 1, 1, chunks)), k),
      jnp.where(here[:, None, :, None], jnp.tile(nv, (1, 1, chunks, 1)), v),
    )

  completions = tuple(append(old, new) for old, new in zip(cache.completions, chunk, strict=True))
  completions = jax.lax.with_sharding_constraint(completions, kv_sharding(config, mesh))
  drawn = Drawn(tokens, logprobs, state, ended)
  if mesh.is_multi_process:  # Each process looks at all rows.
    drawn = jax.lax.with_sharding_constraint(drawn, sharding.replicated(mesh))
  return cache._replace(completions=completions), drawn
