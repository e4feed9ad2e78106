"""What the device does for an `OpenDecoder`: the shared prefix, prompts, and a chunk of decode steps.

A row attends to four pieces of keys and values, never joined: the prefix that all rows share, its problem's prompt,
what it drew in earlier chunks, and what it draws in this one.

- The prefix has no batch dimension: a step reads it once for all rows.
- Slots stand in blocks of b neighbours, and a block has places for a few prompts. Rows of one problem share its
  place; a step reads a block's places once for its b rows, each of which sees its own.
- All rows are at the same step of a chunk, so the current piece is written at one column for the whole batch, in
  place; a write at each row's own column would copy the cache. A row enters at the start of a chunk, so that which
  token lies where depends on the row alone, whoever its neighbours are. (Its prompt's place is theirs to choose; the
  keys of other places weigh exactly 0, but where they stand between may change the rounding of a sum.)

Letters in shapes: S slots, Z blocks, Tp columns of a place, P prefix length, R prompts, C steps of a chunk; else as in
`models.decoder`.
"""

from __future__ import annotations

import functools
import math
from typing import NamedTuple

import jax
import jax.numpy as jnp
from jax.sharding import Mesh, NamedSharding, PartitionSpec
from jaxtyping import Array, Int, Key

from sweb_jax.models import sharding
from sweb_jax.models.cached_attention import LayerKV, Segment, attention, cached, causal_mask, in_window
from sweb_jax.models.decoder import OpenDecoder, Params
from sweb_jax.sampling import ragged, tiles
from sweb_jax.sampling.append import append
from sweb_jax.sampling.chunk import Drawn, Rows, Stops, draw_chunk
from sweb_jax.sampling.rule import Rule
from sweb_jax.sampling.tiles import TILE

Prefix = tuple[LayerKV, ...]
"""Keys and values [K, H, P] and [K, P, H] a layer; P of a local layer is what its window can reach."""


class Cache(NamedTuple):
  """Keys and values that live from call to call; donated to each."""

  prompts: tuple[LayerKV, ...]
  """[Z, K, H, places * Tp] and [Z, K, places * Tp, H] a layer."""
  completions: tuple[LayerKV, ...]
  """[S, K, H, T] and [S, K, T, H] a layer; T holds whole chunks."""


def empty(
  *,
  slots: int,
  blocks: int,
  places: int,
  prompt_columns: int,
  completion_columns: int,
  dtype: jnp.dtype,
  config: OpenDecoder,
  mesh: Mesh,
) -> Cache:
  """A cache in which nothing is of use. `prompt_columns` are what a place has at least."""
  zeros = functools.partial(jnp.zeros, dtype=dtype, device=kv_sharding(config, mesh))

  def layer(n, heads, h, width):
    return zeros((n, heads, h, width)), zeros((n, heads, width, h))

  def layers(n, width):
    return tuple(layer(n, a.kv_heads, a.head_width, width) for a in config.attention)

  width = places * place_columns(prompt_columns, places, mesh)
  return Cache(layers(blocks, width), layers(slots, completion_columns))


def completion_columns(tokens: int, steps: int, mesh: Mesh) -> int:
  """Columns of a completion of so many tokens: whole chunks; on TPUs whole tiles too, as their kernels want them."""
  whole = math.lcm(steps, TILE) if tiles.on_tpu(mesh) else steps
  return -(-tokens // whole) * whole


def place_columns(tokens: int, places: int, mesh: Mesh) -> int:
  """Columns of a place for prompts of so many tokens: on TPUs the places of a block are whole tiles together."""
  whole = TILE // math.gcd(places, TILE) if tiles.on_tpu(mesh) else 1
  return -(-tokens // whole) * whole


def kv_sharding(config: OpenDecoder, mesh: Mesh) -> NamedSharding:
  """Slots and blocks over `data` and `fsdp`, KV heads over `tensor` where they divide."""
  return NamedSharding(mesh, PartitionSpec(('data', 'fsdp'), _kv_axis(config, mesh)))


def prefix_sharding(config: OpenDecoder, mesh: Mesh) -> NamedSharding:
  """Of the shared prefix: KV heads over `tensor` where they divide."""
  return NamedSharding(mesh, PartitionSpec(_kv_axis(config, mesh)))


def _kv_axis(config: OpenDecoder, mesh: Mesh) -> str | None:
  return sharding.kv_axis(mesh, *(a.kv_heads for a in config.attention))


@functools.partial(jax.jit, static_argnames=('config', 'mesh'))
def prefix(params: Params, tokens: Int[Array, P], config: OpenDecoder, mesh: Mesh) -> Prefix:
  """Keys and values of the shared prefix, without a batch dimension: on every device those of its heads."""
  kept = [None] * config.layers
  length = tokens.shape[0]
  positions = jnp.arange(length)[None]
  causal = causal_mask(length)[None]

  def attend(layer, q, k, v):
    window = config.attention[layer].window
    reach = _reach(length, window)
    kept[layer] = jax.tree.map(lambda x: x[0], cached(k[:, length - reach :], v[:, length - reach :]))
    seen = causal & in_window(window, positions, positions)
    return _attention(config, layer, q, [Segment((k, v), seen, fresh=True)])

  # One row: nothing to split over `data` and `fsdp`.
  config.run_blocks(params, tokens[None], positions, attend, inference=True, mesh=mesh, stationary=True)
  return jax.lax.with_sharding_constraint(tuple(kept), prefix_sharding(config, mesh))


def prefix_shapes(length: int, dtype: jnp.dtype, config: OpenDecoder) -> Prefix:
  """The shapes of what `prefix` gives for so many tokens."""

  def layer(kv_heads, h, width):
    return tuple(jax.ShapeDtypeStruct((kv_heads, *shape), dtype) for shape in ((h, width), (width, h)))

  return tuple(layer(a.kv_heads, a.head_width, _reach(length, a.window)) for a in config.attention)


def _reach(length: int, window: int | None) -> int:
  """How many keys of a prefix are seen: the first token after it sees `window - 1`, every later one fewer."""
  return length if window is None else min(length, window - 1)


def _window(config: OpenDecoder, layer: int, cache: Cache, start: int, places: int) -> int | None:
  """The layer's window; None where no row is longer."""
  longest = start + cache.prompts[0][0].shape[-1] // places + cache.completions[0][0].shape[-1]
  window = config.attention[layer].window
  return window if window and longest > window else None


def _seen(
  window: int | None, rows: Rows, drawn: Int[Array, S], start: int, width: int, prefix_columns: int
) -> ragged.Seen:
  """What each row's token sees of what is cached, when the row has drawn so many tokens: its window ends with it.

  `width` is of a place, `prefix_columns` are those that the layer keeps of the prefix, which ends before `start`.
  """
  of_place = rows.place * width
  if window is None:
    none = jnp.zeros_like(rows.length)
    return ragged.Seen(none, of_place, of_place + rows.prompt, none, rows.length)
  first = start + rows.prompt + drawn - (window - 1)  # The earliest position.
  prefix, prompt, own = (
    jnp.maximum(0, first - at) for at in (start - prefix_columns, start, start + rows.prompt)
  )
  return ragged.Seen(prefix, of_place + prompt, of_place + rows.prompt, own, rows.length)


def _attention(config: OpenDecoder, layer: int, q, segments: list[Segment]):
  return attention(q, segments, config.attention[layer].kv_heads, config.attn_softcap)


def _prefix_segments(
  shared: Prefix | None, start: int, layer: int, window: int | None, positions: Int[Array, '#B L']
) -> list[Segment]:
  """The shared prefix, if any, which ends before position `start`, as `positions` see it."""
  if shared is None:
    return []
  width = shared[layer][0].shape[-1]
  keys = start - width + jnp.arange(width)[None]
  return [Segment(shared[layer], in_window(window, positions, keys))]


@functools.partial(jax.jit, static_argnames=('start', 'places', 'config', 'mesh'), donate_argnames=('cache',))
def prefill(
  params: Params,
  shared: Prefix | None,
  cache: Cache,
  tokens: Int[Array, 'R L'],
  targets: Int[Array, R],
  *,
  start: int,
  places: int,
  config: OpenDecoder,
  mesh: Mesh,
) -> Cache:
  """Computes R prompts, padded at the end, and writes each to its place, counted over all blocks.

  `start` is the length of the shared prefix.
  """
  tokens = jax.lax.with_sharding_constraint(tokens, sharding.rows(mesh))
  positions = jnp.broadcast_to(start + jnp.arange(tokens.shape[1]), tokens.shape)
  causal = causal_mask(tokens.shape[1])[None]  # Padding comes last: no real token sees it.
  kept = [None] * config.layers

  def attend(layer, q, k, v):
    kept[layer] = cached(k, v)
    window = _window(config, layer, cache, start, places)
    segments = _prefix_segments(shared, start, layer, window, positions[:1])
    seen = causal & in_window(window, positions[:1], positions[:1])
    segments.append(Segment((k, v), seen, fresh=True))
    return _attention(config, layer, q, segments)

  stationary = mesh.shape['fsdp'] > 1
  config.run_blocks(params, tokens, positions, attend, inference=True, mesh=mesh, stationary=stationary)
  width = cache.prompts[0][0].shape[-1] // places

  def write(old: LayerKV, new: LayerKV) -> LayerKV:
    # A row's place may be on any device: all rows go everywhere first, once a layer and not once a row.
    everywhere = NamedSharding(mesh, PartitionSpec(None, _kv_axis(config, mesh)))
    new = jax.lax.with_sharding_constraint(new, everywhere)

    def put(row, kv):
      block, column = targets[row] // places, targets[row] % places * width
      k, v = (jax.lax.dynamic_slice_in_dim(x, row, 1) for x in new)
      at = (block, 0, 0, column), (block, 0, column, 0)
      return tuple(jax.lax.dynamic_update_slice(*args) for args in zip(kv, (k, v), at, strict=True))

    return jax.lax.fori_loop(0, tokens.shape[0], put, old)

  prompts = tuple(write(old, new) for old, new in zip(cache.prompts, kept, strict=True))
  return cache._replace(prompts=jax.lax.with_sharding_constraint(prompts, kv_sharding(config, mesh)))


@functools.partial(
  jax.jit, static_argnames=('start', 'steps', 'places', 'kernels', 'config', 'mesh', 'rule'), donate_argnames=('cache',)
)
def decode(
  params: Params,
  shared: Prefix | None,
  cache: Cache,
  rows: Rows,
  key: Key[Array, ''],
  stops: Stops,
  *,
  start: int,
  steps: int,
  places: int,
  kernels: bool,
  config: OpenDecoder,
  mesh: Mesh,
  rule: Rule,
) -> tuple[Cache, Drawn]:
  """Draws up to `steps` tokens in every row that may draw; `start` is the length of the shared prefix."""
  params, kernels = config.prepared(params), kernels and tiles.on_tpu(mesh)
  rows = jax.lax.with_sharding_constraint(rows, sharding.rows(mesh))
  after_prompt = (start + rows.prompt)[:, None]
  first = start + rows.prompt + rows.length  # Position of the first token of this chunk.
  prompt_at = jnp.arange(cache.prompts[0][0].shape[-1])
  width = prompt_at.shape[0] // places
  completion_at, chunk_at = jnp.arange(cache.completions[0][0].shape[-1]), jnp.arange(steps)
  in_prompt = (prompt_at // width == rows.place[:, None]) & (prompt_at % width < rows.prompt[:, None])
  in_completion = completion_at < rows.length[:, None]
  where = kv_sharding(config, mesh)
  windows = [_window(config, layer, cache, start, places) for layer in range(config.layers)]
  by_kernel = [
    kernels and ragged.fits(own, prompts, steps, where)
    for own, prompts in zip(cache.completions, cache.prompts, strict=True)
  ]
  prefixes = [None] * config.layers if shared is None else shared
  padded = [ragged.whole(kv) if kv and kernel else None for kv, kernel in zip(prefixes, by_kernel, strict=True)]

  def seen(layer, drawn):
    columns = prefixes[layer][0].shape[-1] if shared else 0
    return _seen(windows[layer], rows, drawn, start, width, columns)

  # Of layers alike once. A window moves on within the chunk: what it leaves behind is read, and not seen.
  kinds = [(window, kv[0].shape) for window, kv in zip(windows, cache.completions, strict=True)]
  todo = {
    kind: ragged.work(own, steps, seen(layer, rows.length), where)
    for layer, (kind, own) in enumerate(zip(kinds, cache.completions, strict=True))
    if by_kernel[layer]
  }

  def feed(i, tokens, positions, chunk):
    chunk = list(chunk)

    def attend(layer, q, k, v):
      window, own, prompts = windows[layer], cache.completions[layer], cache.prompts[layer]
      if by_kernel[layer]:
        chunk[layer], out = ragged.attend(
          q, (k, v), chunk[layer], padded[layer], prompts, own, i, seen(layer, rows.length + i), todo[kinds[layer]],
          window, config.attn_softcap, where,
        )  # fmt: skip
        return out

      def sees(keys):
        return in_window(window, positions, keys)

      k, v = cached(k, v)
      ks, vs = chunk[layer]
      chunk[layer] = ks.at[..., i].set(k[..., 0]), vs.at[:, :, i].set(v[:, :, 0])
      return _attention(config, layer, q, [
        *_prefix_segments(shared, start, layer, window, positions),
        Segment(prompts, in_prompt[:, None] & sees(start + prompt_at[None] % width)),
        Segment(own, in_completion[:, None] & sees(after_prompt + completion_at)),
        Segment(chunk[layer], (chunk_at <= i) & sees(first[:, None] + chunk_at)),
      ])  # fmt: skip

    stationary = mesh.shape['fsdp'] > 1
    how = dict(inference=True, mesh=mesh, stationary=stationary, kernels=kernels)
    x = config.run_blocks(params, tokens, positions, attend, **how)
    return jax.lax.with_sharding_constraint(tuple(chunk), chunk_where), config.logits(params, x[:, 0])

  chunk = tuple(
    ragged.empty(own, steps) if kernel else (jnp.zeros_like(own[0][..., :steps]), jnp.zeros_like(own[1][:, :, :steps]))
    for own, kernel in zip(cache.completions, by_kernel, strict=True)
  )
  chunk_where = tuple(ragged.swapped(where) if kernel else where for kernel in by_kernel)
  chunk, drawn = draw_chunk(feed, chunk, rows, key, stops, start=start, steps=steps, rule=rule, mesh=mesh)
  completions = tuple(
    append(old, ragged.as_cached(new) if kernel else new, rows.length, where, kernels)
    for old, new, kernel in zip(cache.completions, chunk, by_kernel, strict=True)
  )
  completions = jax.lax.with_sharding_constraint(completions, where)
  return cache._replace(completions=completions), drawn
