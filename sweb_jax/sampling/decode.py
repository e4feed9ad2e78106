"""What the device does for the engine: the shared prefix, prefill into slots, and a chunk of decode steps.

A row attends to four pieces of keys and values, never joined: the prefix that all rows share, its own prompt, what it
drew in earlier chunks, and what it draws in this one. All rows are at the same step of a chunk, so the current piece
is written at one column for the whole batch, in place; a write at each row's own column would copy the cache. A row
enters at the start of a chunk, so that which token lies where depends on the row alone, and the sums come out the
same to the bit whoever its neighbours are.
"""

from __future__ import annotations

import functools
from typing import NamedTuple

import jax
import jax.numpy as jnp
from jax.sharding import Mesh, NamedSharding, PartitionSpec
from jaxtyping import Array, Bool, Float, Int, Key, UInt32

from sweb_jax.models import sharding, transformer
from sweb_jax.models.config import ModelConfig
from sweb_jax.models.transformer import LayerKV, Segment
from sweb_jax.sampling.rule import Rule, draw, row_keys


class State(NamedTuple):
  """What the device holds of S slots between two calls; donated to each call.

  The caches are [S, K, H, T] and [S, K, T, H] a layer. A completion takes whole chunks of columns.
  """

  prompts: tuple[LayerKV, ...]
  completions: tuple[LayerKV, ...]
  keys: Key[Array, S]
  prompt: Int[Array, S]  # columns of `prompts` in use
  length: Int[Array, S]  # columns of `completions` in use
  last: Int[Array, S]  # token drawn but not yet in a cache
  drawn: Int[Array, S]
  active: Bool[Array, S]
  tokens: Int[Array, 'S M']
  logprobs: Float[Array, 'S M']


Prefix = tuple[LayerKV, ...]
"""Keys and values [K, H, P] and [K, P, H] a layer; P of a local layer is what its window can reach."""


@functools.partial(
  jax.jit, static_argnames=('slots', 'prompt_length', 'max_new', 'steps', 'dtype', 'config', 'mesh')
)
def empty(
  key: Key[Array, ''],
  *,
  slots: int,
  prompt_length: int,
  max_new: int,
  steps: int,
  dtype: jnp.dtype,
  config: ModelConfig,
  mesh: Mesh,
) -> State:
  """A state in which no slot is in use."""

  def caches(width):
    k, v = (slots, config.kv_heads, config.head_width, width), (slots, config.kv_heads, width, config.head_width)
    return tuple((jnp.zeros(k, dtype), jnp.zeros(v, dtype)) for _ in range(config.layers))

  zeros = functools.partial(jnp.zeros, (slots,))
  state = State(
    prompts=caches(prompt_length),
    completions=caches(-(-max_new // steps) * steps),
    keys=row_keys(key, jnp.zeros((slots, 2), jnp.uint32), zeros(jnp.int32)),
    prompt=zeros(jnp.int32),
    length=zeros(jnp.int32),
    last=zeros(jnp.int32),
    drawn=zeros(jnp.int32),
    active=zeros(bool),
    tokens=jnp.zeros((slots, max_new), jnp.int32),
    logprobs=jnp.zeros((slots, max_new)),
  )
  return _constrain(state, config, mesh)


def _constrain(state: State, config: ModelConfig, mesh: Mesh) -> State:
  """Slots over `data` and `fsdp`, KV heads over `tensor` where they divide."""
  kv = _kv_sharding(config, mesh)
  rest = NamedSharding(mesh, PartitionSpec(('data', 'fsdp')))
  constrain = jax.lax.with_sharding_constraint
  caches = constrain({'prompts': state.prompts, 'completions': state.completions}, kv)
  return constrain(state._replace(prompts=(), completions=()), rest)._replace(**caches)


def _kv_sharding(config: ModelConfig, mesh: Mesh) -> NamedSharding:
  heads = 'tensor' if config.kv_heads % mesh.shape['tensor'] == 0 else None
  return NamedSharding(mesh, PartitionSpec(('data', 'fsdp'), heads))


@functools.partial(jax.jit, static_argnames=('config',))
def prefix(params: transformer.Params, tokens: Int[Array, P], config: ModelConfig) -> Prefix:
  """Keys and values of the shared prefix, without a batch dimension."""
  kept = [None] * config.layers
  length = tokens.shape[0]
  positions = jnp.arange(length)[None]
  seen = transformer.causal_mask(length)[None]
  local = seen & transformer.in_window(config, positions, positions)

  def attend(layer, q, k, v):
    is_local = config.is_local(layer)
    # The first token after the prefix sees `window - 1` of its keys, every later one fewer.
    reach = min(length, config.window - 1) if is_local else length
    kept[layer] = jax.tree.map(lambda x: x[0], transformer.cached(k[:, length - reach :], v[:, length - reach :]))
    return transformer.attention(config, q, [Segment((k, v), local if is_local else seen, fresh=True)])

  transformer.run_blocks(params, config, tokens[None], positions, attend)
  return tuple(kept)


def _prefix_segment(
  shared: Prefix, start: int, config: ModelConfig, layer: int, positions: Int[Array, '#B L']
) -> Segment:
  """The shared prefix, which ends before position `start`, as `positions` see it."""
  width = shared[layer][0].shape[-1]
  return Segment(shared[layer], _seen(config, layer, positions, start - width + jnp.arange(width)[None]))


def _seen(config: ModelConfig, layer: int, queries: Int[Array, '#B L'], keys: Int[Array, '#B T']):
  """Which earlier keys a layer lets each query see."""
  if config.is_local(layer):
    return transformer.in_window(config, queries, keys)
  return jnp.ones((1, queries.shape[-1], keys.shape[-1]), bool)


@functools.partial(jax.jit, static_argnames=('start', 'config', 'mesh', 'rule'), donate_argnames=('state',))
def admit(
  params: transformer.Params,
  shared: Prefix | None,
  state: State,
  tokens: Int[Array, 'R L'],
  lengths: Int[Array, R],
  source: Int[Array, S],
  problems: UInt32[Array, 'S 2'],
  indices: Int[Array, S],
  key: Key[Array, ''],
  stop_ids: Int[Array, I],
  *,
  start: int,
  config: ModelConfig,
  mesh: Mesh,
  rule: Rule,
) -> State:
  """Computes R prompts; slot s takes over prompt `source[s]` (-1: stays as it is) and draws its first token.

  `start` is the length of the shared prefix.
  """
  length = tokens.shape[1]
  tokens = jax.lax.with_sharding_constraint(tokens, sharding.rows(mesh))
  positions = jnp.broadcast_to(start + jnp.arange(length), tokens.shape)
  causal = transformer.causal_mask(length)[None]  # Padding comes last: no real token sees it.
  kept = [None] * config.layers

  def attend(layer, q, k, v):
    kept[layer] = transformer.cached(k, v)
    segments = [Segment((k, v), causal & _seen(config, layer, positions[:1], positions[:1]), fresh=True)]
    if shared is not None:
      segments.insert(0, _prefix_segment(shared, start, config, layer, positions[:1]))
    return transformer.attention(config, q, segments)

  x = transformer.run_blocks(params, config, tokens, positions, attend)
  x = jnp.take_along_axis(x, (lengths - 1)[:, None, None], axis=1)[:, 0]
  logits = transformer.logits(params, config, x)

  new = source >= 0
  row = jnp.maximum(source, 0)
  fresh = row_keys(key, problems, indices)
  token, logprob = draw(logits[row], fresh, start + lengths[row], rule)

  def fill(old: LayerKV, prompt: LayerKV) -> LayerKV:
    (k, v), (pk, pv), at = old, prompt, new[:, None, None, None]
    k = k.at[..., :length].set(jnp.where(at, pk[row], k[..., :length]))
    return k, v.at[:, :, :length].set(jnp.where(at, pv[row], v[:, :, :length]))

  def put(old, value):
    return jnp.where(new.reshape(new.shape + (1,) * (old.ndim - 1)), value, old)

  return _constrain(
    State(
      prompts=tuple(fill(old, prompt) for old, prompt in zip(state.prompts, kept, strict=True)),
      completions=state.completions,
      keys=jnp.where(new, fresh, state.keys),
      prompt=put(state.prompt, lengths[row]),
      length=put(state.length, 0),
      last=put(state.last, token),
      drawn=put(state.drawn, 1),
      active=put(state.active, ~jnp.isin(token, stop_ids) & (state.tokens.shape[1] > 1)),
      tokens=state.tokens.at[:, 0].set(put(state.tokens[:, 0], token)),
      logprobs=state.logprobs.at[:, 0].set(put(state.logprobs[:, 0], logprob)),
    ),
    config,
    mesh,
  )


@functools.partial(jax.jit, static_argnames=('start', 'steps', 'config', 'mesh', 'rule'), donate_argnames=('state',))
def decode(
  params: transformer.Params,
  shared: Prefix | None,
  state: State,
  keep: Bool[Array, S],
  stop_ids: Int[Array, I],
  *,
  start: int,
  steps: int,
  config: ModelConfig,
  mesh: Mesh,
  rule: Rule,
) -> State:
  """Draws up to `steps` tokens in every active slot; slots not in `keep` were given up by the host.

  `start` is the length of the shared prefix.
  """
  slots, max_new = state.tokens.shape
  rows = jnp.arange(slots)
  base = start + state.prompt + state.length  # Position of each row's first token of this chunk.
  prompt_at, completion_at, chunk_at = (
    jnp.arange(n) for n in (state.prompts[0][0].shape[-1], state.completions[0][0].shape[-1], steps)
  )
  in_prompt = (prompt_at < state.prompt[:, None])[:, None]
  in_completion = (completion_at < state.length[:, None])[:, None]

  def step(carry):
    i, s, chunk = carry
    positions = (base + i)[:, None]
    chunk = list(chunk)

    def attend(layer, q, k, v):
      k, v = transformer.cached(k, v)
      ks, vs = chunk[layer]
      chunk[layer] = ks.at[..., i].set(k[..., 0]), vs.at[:, :, i].set(v[:, :, 0])

      def sees(keys):
        return _seen(config, layer, positions, keys)

      segments = [
        Segment(s.prompts[layer], in_prompt & sees(start + prompt_at[None])),
        Segment(s.completions[layer], in_completion & sees((start + s.prompt)[:, None] + completion_at)),
        Segment(chunk[layer], (chunk_at <= i) & sees(base[:, None] + chunk_at)),
      ]
      if shared is not None:
        segments.insert(0, _prefix_segment(shared, start, config, layer, positions))
      return transformer.attention(config, q, segments)

    x = transformer.run_blocks(params, config, s.last[:, None], positions, attend, few_rows=True)[:, 0]
    token, logprob = draw(transformer.logits(params, config, x), s.keys, base + i + 1, rule)
    place = jnp.minimum(s.drawn, max_new - 1)
    drawn = s.drawn + s.active
    s = s._replace(
      last=jnp.where(s.active, token, s.last),
      drawn=drawn,
      active=s.active & ~jnp.isin(token, stop_ids) & (drawn < max_new),
      tokens=s.tokens.at[rows, place].set(jnp.where(s.active, token, s.tokens[rows, place])),
      logprobs=s.logprobs.at[rows, place].set(jnp.where(s.active, logprob, s.logprobs[rows, place])),
    )
    return i + 1, _constrain(s, config, mesh), jax.lax.with_sharding_constraint(tuple(chunk), kv)

  kv = _kv_sharding(config, mesh)
  state = state._replace(active=state.active & keep)
  chunk = tuple((jnp.zeros_like(k[..., :steps]), jnp.zeros_like(v[:, :, :steps])) for k, v in state.completions)
  _, state, chunk = jax.lax.while_loop(lambda c: (c[0] < steps) & c[1].active.any(), step, (0, state, chunk))

  # Which chunk of a completion this was. One pass over the cache a chunk, in place.
  number = (state.length // steps)[:, None, None, None, None]

  def append(old: LayerKV, new: LayerKV) -> LayerKV:
    (k, v), (nk, nv) = old, new
    ks, vs = k.reshape(*k.shape[:-1], -1, steps), v.reshape(*v.shape[:2], -1, steps, v.shape[-1])
    ks = jnp.where(jnp.arange(ks.shape[3])[:, None] == number, nk[:, :, :, None], ks)
    vs = jnp.where(jnp.arange(vs.shape[2])[:, None, None] == number, nv[:, :, None], vs)
    return ks.reshape(k.shape), vs.reshape(v.shape)

  completions = tuple(append(old, new) for old, new in zip(state.completions, chunk, strict=True))
  state = state._replace(completions=completions, length=jnp.where(state.active, state.length + steps, state.length))
  return _constrain(state, config, mesh)
