"""The sampling engine: requests in, finished completions out, in any order. It knows token ids only.

A fixed number of slots decodes together. After every `steps` tokens the finished rows are taken out and new requests
put in, so no row waits for the longest one. Keys and values come in two segments: the prefix that all prompts share
(worked examples), computed once a run and stored without a batch dimension, and each slot's own prompt and completion.

Same text however it is cut up: shapes are fixed, each row is computed by itself, and the random key of a token is a
function of (seed, model, problem id, sample index, position) alone.
"""

from __future__ import annotations

import collections
import dataclasses
import functools
import hashlib
from collections.abc import Callable, Iterable, Iterator, Sequence
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jax.sharding import Mesh, NamedSharding, PartitionSpec
from jaxtyping import Array, Bool, Float, Int, Key, UInt32

from sweb_jax.models import sharding, transformer
from sweb_jax.models.config import ModelConfig
from sweb_jax.models.transformer import Segment
from sweb_jax.sampling.rule import Rule, draw, row_keys


class SamplingError(ValueError):
  """A request the engine cannot serve, or logits that are not numbers; the message names the row."""


@dataclasses.dataclass(frozen=True)
class Request:
  """One completion to draw."""

  problem_id: str
  index: int
  prompt: tuple[int, ...]
  """Ids after the shared prefix; with an empty prefix they start with BOS."""


@dataclasses.dataclass(frozen=True)
class Completion:
  """One finished draw."""

  problem_id: str
  index: int
  tokens: tuple[int, ...]
  """Ids drawn, the stop token included."""
  finish: str
  """'stop' or 'length'."""
  logprob: float
  """Sum of the drawn tokens' log-probabilities at temperature 1."""


class State(NamedTuple):
  """What the device holds of S slots between two calls; donated to each call."""

  cache: tuple[transformer.LayerKV, ...]  # [S, K, H, T] and [S, K, T, H] a layer
  keys: Key[Array, S]
  length: Int[Array, S]  # columns of the cache in use
  last: Int[Array, S]  # token drawn but not yet in the cache
  drawn: Int[Array, S]
  active: Bool[Array, S]
  tokens: Int[Array, 'S M']
  logprobs: Float[Array, 'S M']


class Engine:
  """Draws completions from one model; parameters are given to each run, so that a changed model compiles nothing.

  Args:
    config: the architecture.
    mesh: slots are split over its `data` and `fsdp` axes.
    rule: how a token is drawn.
    stop_ids: tokens that end a completion.
    prompt_length: the longest prompt to expect, without the prefix.
    max_new_tokens: a completion is cut there.
    prefix: ids that come before every prompt, BOS first; may be empty.
    slots: rows decoded together.
    steps: tokens a row draws between two looks at the batch.
  """

  def __init__(
    self,
    config: ModelConfig,
    mesh: Mesh,
    rule: Rule,
    *,
    stop_ids: Sequence[int],
    prompt_length: int,
    max_new_tokens: int,
    prefix: Sequence[int] = (),
    slots: int = 64,
    steps: int = 16,
  ):
    sharding.check_rows(slots, mesh, 'slots')
    self._static = dict(config=config, mesh=mesh, rule=rule)
    self._stop_ids = jnp.asarray(tuple(stop_ids), jnp.int32)
    self._prompt_length = _bucket(prompt_length)
    self._max_new = max_new_tokens
    self._prefix = tuple(prefix)
    self._slots = slots
    self._steps = steps
    # Prompts computed in one call. A whole batch of slots at once would leave slots idle until that many are free.
    ways = mesh.shape['data'] * mesh.shape['fsdp']
    self._rows = max(ways, slots // 8 // ways * ways)

  def run(
    self,
    params: transformer.Params,
    requests: Iterable[Request],
    *,
    key: Key[Array, ''],
    cut: Callable[[Sequence[int]], int | None] | None = None,
  ) -> Iterator[Completion]:
    """Draws every request.

    Args:
      params: parameters, on the engine's mesh.
      requests: what to draw. Equal prompts next to each other are computed once.
      key: of the run: a function of the seed and the model.
      cut: given the ids drawn so far, how many of them belong to the completion if a stop string ends it, else None.
        It runs on the host once every `steps` tokens; what was drawn beyond is dropped.

    Yields:
      Completions, in the order in which they finish.

    Raises:
      SamplingError: an empty or too long prompt, an id outside the vocabulary, or logits that are not numbers.
    """
    waiting = collections.deque(requests)
    for r in waiting:
      self._check(r)
    if not waiting:
      return
    prefix = _prefix(params, jnp.asarray(self._prefix, jnp.int32), self._static['config']) if self._prefix else None
    state = _empty(self._slots, self._prompt_length + self._max_new, self._max_new, key, **self._static)
    live: list[Request | None] = [None] * self._slots
    while waiting or any(live):
      free = [s for s, r in enumerate(live) if r is None]
      while waiting and (len(free) >= self._rows or len(free) == self._slots):
        state, free = self._admit(params, prefix, state, waiting, live, free, key)
      keep = np.asarray([r is not None for r in live])
      state = _decode(params, prefix, state, keep, self._stop_ids, steps=self._steps, **self._static)
      yield from self._harvest(state, live, cut)

  def _check(self, r: Request) -> None:
    where = f'problem {r.problem_id!r}, sample {r.index}'
    if not r.prompt:
      raise SamplingError(f'{where}: the prompt is empty')
    if len(r.prompt) > self._prompt_length:
      raise SamplingError(
        f'{where}: the prompt has {len(r.prompt)} tokens, the engine was built for {self._prompt_length}'
      )
    top = self._static['config'].vocab_size
    if min(r.prompt) < 0 or max(r.prompt) >= top:
      raise SamplingError(f'{where}: the prompt has ids outside the vocabulary of {top}; is it the right tokenizer?')

  def _admit(self, params, prefix, state, waiting, live, free, key):
    """Computes the next prompts and puts their requests into free slots; returns the state and what stays free."""
    prompts: dict[tuple[int, ...], int] = {}
    source = np.full(self._slots, -1, np.int32)
    problems = np.zeros((self._slots, 2), np.uint32)
    indices = np.zeros(self._slots, np.int32)
    free = collections.deque(free)
    while waiting and free:
      r = waiting[0]
      if r.prompt not in prompts:
        if len(prompts) == self._rows:
          break
        prompts[r.prompt] = len(prompts)
      slot = free.popleft()
      live[slot] = waiting.popleft()
      source[slot], problems[slot], indices[slot] = prompts[r.prompt], _problem_hash(r.problem_id), r.index
    tokens = np.zeros((self._rows, _bucket(max(map(len, prompts)))), np.int32)
    lengths = np.ones(self._rows, np.int32)
    for ids, row in prompts.items():
      tokens[row, : len(ids)], lengths[row] = ids, len(ids)
    state = _admit(
      params, prefix, state, tokens, lengths, source, problems, indices, key, self._stop_ids, **self._static
    )
    return state, list(free)

  def _harvest(self, state, live, cut) -> Iterator[Completion]:
    """Takes finished rows out of their slots."""
    active, drawn, tokens, logprobs = jax.device_get((state.active, state.drawn, state.tokens, state.logprobs))
    stops = set(np.asarray(self._stop_ids).tolist())
    for slot, r in enumerate(live):
      if r is None:
        continue
      ids = tokens[slot, : drawn[slot]].tolist()
      kept = cut(ids) if cut is not None else None
      if active[slot] and kept is None:
        continue
      ids = ids if kept is None else ids[:kept]
      logprob = float(logprobs[slot, : len(ids)].sum())
      if not np.isfinite(logprob):
        raise SamplingError(
          f'problem {r.problem_id!r}, sample {r.index}: the model gave logits that are not numbers; '
          'the weights are damaged or training diverged'
        )
      finish = 'stop' if kept is not None or (ids and ids[-1] in stops) else 'length'
      live[slot] = None
      yield Completion(r.problem_id, r.index, tuple(ids), finish, logprob)


def _bucket(length: int) -> int:
  """The padded length of a prompt: 16, 24, 32, 48, 64, 96, ...: few shapes to compile, at most a third of padding."""
  size = 16
  while size < length:
    size = size * 3 // 2 if size & (size - 1) == 0 else size // 3 * 4
  return size


@functools.cache
def _problem_hash(problem_id: str) -> tuple[int, int]:
  digest = hashlib.sha256(problem_id.encode()).digest()
  return int.from_bytes(digest[:4], 'little'), int.from_bytes(digest[4:8], 'little')


@functools.partial(jax.jit, static_argnames=('slots', 'width', 'max_new', 'config', 'mesh', 'rule'))
def _empty(slots, width, max_new, key, *, config: ModelConfig, mesh: Mesh, rule: Rule) -> State:
  """A state in which no slot is in use."""
  k, v = (slots, config.kv_heads, config.head_width, width), (slots, config.kv_heads, width, config.head_width)
  zeros = functools.partial(jnp.zeros, (slots,))
  state = State(
    cache=tuple((jnp.zeros(k), jnp.zeros(v)) for _ in range(config.layers)),
    keys=row_keys(key, jnp.zeros((slots, 2), jnp.uint32), zeros(jnp.int32)),
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
  rows = ('data', 'fsdp')
  heads = 'tensor' if config.kv_heads % mesh.shape['tensor'] == 0 else None
  kv = NamedSharding(mesh, PartitionSpec(rows, heads))
  rest = NamedSharding(mesh, PartitionSpec(rows))
  cache = jax.lax.with_sharding_constraint(state.cache, kv)
  return jax.lax.with_sharding_constraint(state._replace(cache=()), rest)._replace(cache=cache)


@functools.partial(jax.jit, static_argnames=('config',))
def _prefix(params, tokens: Int[Array, P], config: ModelConfig) -> tuple[transformer.LayerKV, ...]:
  """Keys and values of the shared prefix, without a batch dimension."""
  kept = [None] * config.layers
  positions = jnp.arange(tokens.shape[0])[None]
  seen = transformer.causal_mask(tokens.shape[0])[None]
  local = seen & transformer.in_window(config, positions, positions)

  def attend(layer, q, k, v):
    kept[layer] = jax.tree.map(lambda x: x[0], transformer.cached(k, v))
    return transformer.attention(config, q, [Segment((k, v), local if config.is_local(layer) else seen, fresh=True)])

  transformer.run_blocks(params, config, tokens[None], positions, attend)
  return tuple(kept)


def _prefix_segment(prefix, config, layer, positions):
  """The shared prefix as an attention segment: all of it, or what lies in the window."""
  keys = jnp.arange(_length(prefix))[None]
  if config.is_local(layer):
    return Segment(prefix[layer], transformer.in_window(config, positions, keys))
  return Segment(prefix[layer], jnp.ones((1, positions.shape[-1], keys.shape[-1]), bool))


def _length(prefix: tuple[transformer.LayerKV, ...] | None) -> int:
  return 0 if prefix is None else prefix[0][0].shape[-1]


@functools.partial(jax.jit, static_argnames=('config', 'mesh', 'rule'), donate_argnames=('state',))
def _admit(
  params: transformer.Params,
  prefix: tuple[transformer.LayerKV, ...] | None,
  state: State,
  tokens: Int[Array, 'R L'],
  lengths: Int[Array, R],
  source: Int[Array, S],
  problems: UInt32[Array, 'S 2'],
  indices: Int[Array, S],
  key: Key[Array, ''],
  stop_ids: Int[Array, I],
  *,
  config: ModelConfig,
  mesh: Mesh,
  rule: Rule,
) -> State:
  """Computes R prompts; slot s takes over prompt `source[s]` (-1: stays as it is) and draws its first token."""
  start = _length(prefix)
  length = tokens.shape[1]
  tokens = jax.lax.with_sharding_constraint(tokens, sharding.rows(mesh))
  positions = jnp.broadcast_to(start + jnp.arange(length), tokens.shape)
  seen = transformer.causal_mask(length)[None]  # Padding comes last: no real token sees it.
  local = seen & transformer.in_window(config, positions[:1], positions[:1])
  kept = [None] * config.layers

  def attend(layer, q, k, v):
    kept[layer] = transformer.cached(k, v)
    segments = [Segment((k, v), local if config.is_local(layer) else seen, fresh=True)]
    if prefix is not None:
      segments.insert(0, _prefix_segment(prefix, config, layer, positions[:1]))
    return transformer.attention(config, q, segments)

  x = transformer.run_blocks(params, config, tokens, positions, attend)
  x = jnp.take_along_axis(x, (lengths - 1)[:, None, None], axis=1)[:, 0]
  logits = transformer.logits(params, config, x)

  new = source >= 0
  row = jnp.maximum(source, 0)
  fresh = row_keys(key, problems, indices)
  token, logprob = draw(logits[row], fresh, start + lengths[row], rule)

  def fill(old: transformer.LayerKV, prompt: transformer.LayerKV) -> transformer.LayerKV:
    (k, v), (pk, pv), at = old, prompt, new[:, None, None, None]
    k = k.at[..., :length].set(jnp.where(at, pk[row], k[..., :length]))
    return k, v.at[:, :, :length].set(jnp.where(at, pv[row], v[:, :, :length]))

  def put(old, value):
    return jnp.where(new.reshape(new.shape + (1,) * (old.ndim - 1)), value, old)

  return _constrain(
    State(
      cache=tuple(fill(old, prompt) for old, prompt in zip(state.cache, kept, strict=True)),
      keys=jnp.where(new, fresh, state.keys),
      length=put(state.length, lengths[row]),
      last=put(state.last, token),
      drawn=put(state.drawn, 1),
      active=put(state.active, ~jnp.isin(token, stop_ids) & (state.tokens.shape[1] > 1)),
      tokens=state.tokens.at[:, 0].set(put(state.tokens[:, 0], token)),
      logprobs=state.logprobs.at[:, 0].set(put(state.logprobs[:, 0], logprob)),
    ),
    config,
    mesh,
  )


@functools.partial(jax.jit, static_argnames=('steps', 'config', 'mesh', 'rule'), donate_argnames=('state',))
def _decode(
  params: transformer.Params,
  prefix: tuple[transformer.LayerKV, ...] | None,
  state: State,
  keep: Bool[Array, S],
  stop_ids: Int[Array, I],
  *,
  steps: int,
  config: ModelConfig,
  mesh: Mesh,
  rule: Rule,
) -> State:
  """Draws up to `steps` tokens in every active slot; slots not in `keep` were given up by the host."""
  start = _length(prefix)
  width = state.cache[0][0].shape[-1]
  columns = jnp.arange(width)[None]
  rows = jnp.arange(state.last.shape[0])

  def step(carry):
    i, s = carry
    # A finished row goes on computing into its last column; nothing of it is kept.
    column = jnp.minimum(s.length, width - 1)
    positions = (start + column)[:, None]
    seen = columns[:, None, :] <= column[:, None, None]
    local = seen & transformer.in_window(config, positions, start + columns)
    cache = list(s.cache)

    def attend(layer, q, k, v):
      ks, vs = cache[layer]
      cache[layer] = ks.at[rows, :, :, column].set(k[:, 0]), vs.at[rows, :, column].set(v[:, 0])
      segments = [Segment(cache[layer], local if config.is_local(layer) else seen)]
      if prefix is not None:
        segments.insert(0, _prefix_segment(prefix, config, layer, positions))
      return transformer.attention(config, q, segments)

    x = transformer.run_blocks(params, config, s.last[:, None], positions, attend)[:, 0]
    token, logprob = draw(transformer.logits(params, config, x), s.keys, start + column + 1, rule)
    place = jnp.minimum(s.drawn, s.tokens.shape[1] - 1)
    drawn = s.drawn + s.active
    s = State(
      cache=tuple(cache),
      keys=s.keys,
      length=s.length + s.active,
      last=jnp.where(s.active, token, s.last),
      drawn=drawn,
      active=s.active & ~jnp.isin(token, stop_ids) & (drawn < s.tokens.shape[1]),
      tokens=s.tokens.at[rows, place].set(jnp.where(s.active, token, s.tokens[rows, place])),
      logprobs=s.logprobs.at[rows, place].set(jnp.where(s.active, logprob, s.logprobs[rows, place])),
    )
    return i + 1, _constrain(s, config, mesh)

  state = state._replace(active=state.active & keep)
  _, state = jax.lax.while_loop(lambda c: (c[0] < steps) & c[1].active.any(), step, (0, state))
  return state
