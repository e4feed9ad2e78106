"""Attention of every row's next token, in one TPU kernel: to the prefix, to its prompt, and to what it has drawn.

Rows are of all lengths, and the caches have room for the longest: a product with a whole cache reads several times what
its rows have. The kernel goes through the tiles of 128 columns that are in use, of one row after another. What rows
share is attended to by many of them together: the prefix by all of a call, a prompt by the slots of its set, and the
chunk, to which the token's own key and value are written first, by so many neighbours that products are worth while;
what belongs to another row weighs exactly 0.

A row's sums are added up in an order of their own, so that what it gets depends on no other row.

Letters in shapes: S slots, in Z sets of neighbours that share prompts; K KV heads, G query heads of each, H head width;
P columns of the prefix, W of a set's prompts, T of a slot; C steps of a chunk. The kernel's body is called for each
head I times, each time for S / I slots with J tiles of their own at most.
"""

from __future__ import annotations

import functools
import math
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
from jax.sharding import NamedSharding, PartitionSpec
from jaxtyping import Array, Float, Int

from sweb_jax.models import self_attention
from sweb_jax.models.cached_attention import MASKED, LayerKV, softcap
from sweb_jax.sampling import tiles
from sweb_jax.sampling.tiles import TILE, precision

_AT_ONCE = 8
"""Tiles of rows' own that are on their way together, while as many others are attended to."""
_SIDE = 8
"""Slots whose chunks, or whose prompts, are attended to together."""
_SLOTS = 128
_CHUNK = 1 << 19
"""Bytes of a call's keys, or values, of the chunk: eight times as much is kept in a core's fast memory."""
_PIECE = 512
"""Columns of prompts that are on their way together, at most."""


class Work(NamedTuple):
  """What there is to read of the slots' own, the same for all layers of one window, and for all heads."""

  tiles: Int[Array, 'I 1 J']
  """For each call of the body, slot * (T / 128) + tile, slots counted from its first."""
  counts: Int[Array, I]
  """How many of them there are; what follows is padding."""


class Seen(NamedTuple):
  """Which columns each slot's token sees: from the first of them to before an end."""

  prefix: Int[Array, S]
  """The first of the shared prefix, which is seen to its end."""
  prompt: Int[Array, S]
  """The first of its set's prompts."""
  prompt_end: Int[Array, S]
  own: Int[Array, S]
  """The first of those that the slot had before the chunk."""
  own_end: Int[Array, S]


Chunk = tuple[Float[Array, 'K S C H'], Float[Array, 'K S C H']]
"""Keys (after RoPE) and values of a layer in a chunk, in the kernel's order."""


def fits(own: LayerKV, prompts: LayerKV, steps: int, where: NamedSharding) -> bool:
  """Whether the kernel can read caches, and chunks of so many steps: in whole tiles, with heads split as queries."""
  slots, tensor = where.shard_shape(own[0].shape)[0], where.mesh.shape['tensor']
  aligned = slots % _SIDE == 0 == prompts[0].shape[-1] % TILE
  return aligned and tiles.whole(own, steps) and (tensor == 1 or where.spec[1] == 'tensor')


def empty(own: LayerKV, steps: int) -> Chunk:
  """A layer's chunk in which nothing is of use."""
  slots, heads, _, width = own[1].shape
  return (jnp.zeros((heads, slots, steps, width), own[1].dtype),) * 2


def swapped(where: NamedSharding) -> NamedSharding:
  """How what is in the kernel's order is split: heads before slots."""
  slots, heads = where.spec
  return NamedSharding(where.mesh, PartitionSpec(heads, slots))


def as_cached(chunk: Chunk) -> LayerKV:
  """A chunk as `append` takes it, [S, K, H, C] and [S, K, C, H]."""
  k, v = chunk
  return k.transpose(1, 0, 3, 2), v.swapaxes(0, 1)


class Prefix(NamedTuple):
  """Keys and values that all slots see."""

  k: Float[Array, 'K H P']
  v: Float[Array, 'K P H']
  columns: int
  """How many there are; what follows makes the last tile whole."""


def whole(prefix: LayerKV) -> Prefix:
  """The shared prefix, [K, H, P] and [K, P, H], in whole tiles."""
  k, v = prefix
  rest = -k.shape[-1] % TILE
  return Prefix(jnp.pad(k, ((0, 0), (0, 0), (0, rest))), jnp.pad(v, ((0, 0), (0, rest), (0, 0))), k.shape[-1])


def work(own: LayerKV, steps: int, seen: Seen, where: NamedSharding) -> Work:
  """The tiles with columns of its own that a slot sees, of each.

  Args:
    own: of a layer, [S, K, H, T] and [S, K, T, H].
    steps: of a chunk.
    seen: what each slot sees.
    where: how slots and heads are split over devices.
  """
  slots, _, width, columns = where.shard_shape(own[0].shape)
  room = max(_SIDE, _CHUNK // (steps * width * own[0].dtype.itemsize))
  each, most = math.gcd(slots, min(_SLOTS, 1 << room.bit_length() - 1)), columns // TILE

  def local(begins: Int[Array, S], ends: Int[Array, S]) -> Work:
    first = (begins // TILE).reshape(-1, each)
    count = jnp.maximum(0, -(-ends // TILE).reshape(-1, each) - first)
    stops = jnp.cumsum(count, axis=1)
    at = jnp.arange(-(-each * most // _AT_ONCE) * _AT_ONCE)[None]  # The last of them are looked at too.
    slot = jnp.minimum(jnp.sum(stops[:, None] <= at[..., None], axis=-1), each - 1)
    tile = at + jnp.take_along_axis(first - (stops - count), slot, axis=1)
    return Work(jnp.where(at < stops[:, -1:], slot * most + tile, 0)[:, None], stops[:, -1])

  rows = PartitionSpec(where.spec[0])
  return jax.shard_map(local, mesh=where.mesh, in_specs=rows, out_specs=rows, check_vma=False)(seen.own, seen.own_end)


def attend(
  q: Float[Array, 'S 1 N H'],
  new: tuple[Float[Array, 'S 1 K H'], Float[Array, 'S 1 K H']],
  chunk: Chunk,
  prefix: Prefix | None,
  prompts: LayerKV,
  own: LayerKV,
  at: Int[Array, ''],
  seen: Seen,
  todo: Work,
  window: int | None,
  cap: float | None,
  where: NamedSharding,
  interpret: Any = False,
) -> tuple[Chunk, Float[Array, 'S 1 N H']]:
  """What attention gives every slot's token, and the chunk with the token's key and value.

  Args:
    q: queries, scaled and after RoPE.
    new: the token's own key (after RoPE) and value.
    chunk: of a layer; what stands at `at` and after it is of no use.
    prefix: which all slots see; None: there is none.
    prompts: [Z, K, H, W] and [Z, K, W, H].
    own: [S, K, H, T] and [S, K, T, H], what slots had before the chunk.
    at: step of the chunk.
    seen: what each slot sees; of its own no column before those with which `todo` was made.
    todo: of `work`.
    window: how many columns of the chunk are seen at most; None: all.
    cap: scores become cap * tanh(scores / cap); None: they stay.
    where: how slots and heads are split over devices.
    interpret: for `pallas_call`, to run it where there is no TPU.
  """
  slots, _, n, width = q.shape
  heads = own[0].shape[1]
  rows, ours = PartitionSpec(where.spec[0]), swapped(where).spec
  columns = prefix.columns if prefix else 0
  split = jax.shard_map(
    functools.partial(_call, prefix_columns=columns, window=window, cap=cap, interpret=interpret),
    mesh=where.mesh,
    in_specs=(ours, ours, ours, PartitionSpec(where.spec[1]), where.spec, where.spec, PartitionSpec(), rows, rows),
    out_specs=ours,
    check_vma=False,
  )
  q = q.reshape(slots, heads, n // heads, width).swapaxes(0, 1)
  new = tuple(x[:, 0].swapaxes(0, 1) for x in new)
  chunk, out = split(q, new, chunk, prefix[:2] if prefix else (), prompts, own, at, seen, todo)
  return chunk, out.swapaxes(0, 1).reshape(slots, 1, n, width)


def _call(q, new, chunk, prefix, prompts, own, at, seen, todo, *, prefix_columns, window, cap, interpret):
  """Of one device."""
  from jax.experimental import pallas as pl  # 0.2 s of a start that needs none.
  from jax.experimental.pallas import tpu as pltpu

  heads, slots, group, width = q.shape
  steps, dtype, parts = chunk[0].shape[2], own[0].dtype, todo.counts.shape[0]
  each, piece = slots // parts, math.gcd(prompts[0].shape[-1], _PIECE)

  def of_slots(*shape):
    return pl.BlockSpec((None, *shape), lambda h, i, *_: (h, i, *(0,) * (len(shape) - 1)))

  def buffers(n, columns):
    shapes = (2, n, width, columns), (2, n, columns, width)
    return [*[pltpu.VMEM(shape, dtype) for shape in shapes], pltpu.SemaphoreType.DMA((2,))]

  def sums(*queries):
    return [pltpu.VMEM((*queries, n), jnp.float32) for n in (width, TILE, TILE)]

  def stacked(x):
    return x.reshape(heads, slots // _SIDE, -1, width)

  of_chunk = [of_slots(each, steps, width)] * 2
  limits = jnp.stack((seen.prefix, seen.prompt, seen.prompt_end), axis=-1)
  caches = *prefix, *prompts, *own
  found = pl.pallas_call(
    functools.partial(_attend, prefix_columns=prefix_columns, window=window, cap=cap),
    out_shape=[
      *[jax.ShapeDtypeStruct(x.shape, x.dtype) for x in chunk],
      jax.ShapeDtypeStruct((heads, slots, group * width), q.dtype),
    ],
    grid_spec=pltpu.PrefetchScalarGridSpec(
      num_scalar_prefetch=4,
      grid=(heads, parts),
      in_specs=[
        pl.BlockSpec((1, 1, todo.tiles.shape[-1]), lambda h, i, *_: (i, 0, 0), memory_space=pltpu.SMEM),
        pl.BlockSpec((each * group, 3), lambda h, i, *_: (i, 0)),
        of_slots(each, group, width),
        of_slots(each // _SIDE, _SIDE * group, width),
        of_slots(each * group, width),
        *[of_slots(each // _SIDE, _SIDE, width)] * 2,
        *of_chunk,
        *[pl.BlockSpec(memory_space=pl.ANY)] * len(caches),
      ],
      out_specs=[*of_chunk, of_slots(each, group * width)],
      scratch_shapes=[
        sums(each * group),
        sums(each, group),
        pltpu.VMEM((min(each, 2 * _SIDE), group * width), jnp.float32),
        buffers(1, TILE),
        buffers(1, piece),
        buffers(_AT_ONCE, TILE),
      ],
    ),
    input_output_aliases={11: 0, 12: 1},
    # As if all columns were in use.
    cost_estimate=pl.CostEstimate(
      flops=4 * q.size * sum(x.shape[-1] for x in caches[::2]),
      transcendentals=q.size // width * sum(x.shape[-1] for x in caches[::2]),
      bytes_accessed=4 * q.nbytes
      + 2 * sum(x.nbytes for x in (*chunk, *new))
      + sum(x.nbytes for x in (*prefix, *prompts, *own)),
    ),
    interpret=interpret,
  )(
    at[None],
    todo.counts,
    seen.own,
    seen.own_end,
    todo.tiles,
    jnp.repeat(limits, group, axis=0),
    q,
    stacked(q),
    q.reshape(heads, slots * group, width),
    *map(stacked, new),
    *chunk,
    *caches,
  )
  return tuple(found[:2]), found[2]


def _attend(
  at, counts, begins, ends, todo, limits, q, stacked, flat, new_k, new_v, _chunk_k, _chunk_v, *rest,
  prefix_columns, window, cap,
):  # fmt: skip
  """The kernel's body, for a head of some slots: while one piece of a cache is attended to, the next one is read."""
  from jax.experimental import pallas as pl
  from jax.experimental.pallas import tpu as pltpu

  *prefix, prompts_k, prompts_v, own_k, own_v, chunk_k, chunk_v, out, together, by_slot, wide = rest[:-3]
  of_prefix, of_prompts, of_own = rest[-3:]
  (each, group, width), steps, dtype = q.shape, chunk_k.shape[1], own_k.dtype
  head, part = pl.program_id(0), pl.program_id(1)
  first, count, a_set = part * each, counts[part], own_k.shape[0] // prompts_k.shape[0]
  most, piece = own_k.shape[-1] // TILE, of_prompts[0].shape[-1]
  pieces = prompts_k.shape[-1] // piece
  safe = self_attention.is_safe(cap)

  def product(x, y, over=0):
    dims = ((1,), (over,)), ((), ())
    return jax.lax.dot_general(x, y, dims, preferred_element_type=jnp.float32, precision=precision(dtype))

  def columns(s, first=0):
    return first + jax.lax.broadcasted_iota(jnp.int32, s.shape, 1)

  def masked(s, seen):
    return jnp.where(seen, softcap(s, cap), MASKED)

  def add(state, some, s, values):
    """Adds to the sums of some queries what keys give whose scores are s."""
    sums, total, top = state
    if not safe:
      before = top[some]
      top[some] = jnp.maximum(before, s.max(-1, keepdims=True))
      s -= top[some][:, :1]
      fade = jnp.exp(before - top[some])
      sums[some] *= fade[:, :1]
      total[some] *= fade
    w = jnp.exp(s)
    total[some] += jnp.broadcast_to(w.sum(-1, keepdims=True), (len(s), TILE))
    sums[some] += product(w.astype(dtype), values)

  def tile(i):
    return pl.ds(pl.multiple_of(i * TILE, TILE), TILE)

  def queries(i):
    """Of `_SIDE` slots."""
    n = _SIDE * group
    return pl.ds(pl.multiple_of(i * n, n), n)

  def prefix_piece(i):
    yield prefix[0].at[head, :, tile(i)], prefix[1].at[head, tile(i)]

  def prompts_piece(i):
    at, some = first // a_set + i // pieces, pl.ds(pl.multiple_of(i % pieces * piece, TILE), piece)
    yield prompts_k.at[at, head, :, some], prompts_v.at[at, head, some]

  def own_tile(i):
    """Slot among these, and number of its tile."""
    return todo[0, 0, i] // most, todo[0, 0, i] % most

  def own_piece(i):
    for j in range(_AT_ONCE):
      slot, number = own_tile(i * _AT_ONCE + j)
      yield own_k.at[first + slot, head, :, tile(number)], own_v.at[first + slot, head, tile(number)]

  def copies(held, piece, buffer):
    *held, arrived = held
    for j, kv in enumerate(piece):
      for source, to in zip(kv, held, strict=True):
        yield pltpu.make_async_copy(source, to.at[buffer, j], arrived.at[buffer])

  def begin(held, piece, buffer):
    for copy in copies(held, piece, buffer):
      copy.start()

  def in_turn(n, held, piece_of, body):
    """`body(i, keys, values)` for every i < n; what 0 reads was begun before."""

    @pl.loop(0, n)
    def _(i):
      buffer = i % 2

      @pl.when(i + 1 < n)
      def _():
        begin(held, piece_of(i + 1), 1 - buffer)

      for copy in copies(held, piece_of(i), buffer):
        copy.wait()
      body(i, held[0].at[buffer], held[1].at[buffer])

  def attend_prefix(i, keys, values):
    s = product(flat[...], keys[0])
    column = columns(s, i * TILE)
    add(together, slice(None), masked(s, (column >= limits[:, :1]) & (column < prefix_columns)), values[0])

  def attend_prompts(i, keys, values):
    a_call = i // pieces  # The set, among those of the call.

    @pl.loop(0, max(1, min(each, a_set) // _SIDE))
    def _(j):
      j += a_call * a_set // _SIDE
      some = queries(j)
      s = product(stacked[j], keys[0])
      column = columns(s, i % pieces * piece)
      seen = (column >= limits[some, 1:2]) & (column < limits[some, 2:3])
      if a_set < _SIDE:
        slot = j * _SIDE + jax.lax.broadcasted_iota(jnp.int32, s.shape, 0) // group
        seen &= slot // a_set == a_call
      add(together, some, masked(s, seen), values[0])

  def attend_own(i, keys, values):
    scores = []
    for j in range(_AT_ONCE):
      slot, number = own_tile(i * _AT_ONCE + j)
      s = product(q[slot], keys[j])
      end = jnp.where(i * _AT_ONCE + j < count, ends[first + slot], 0)  # Of padding nothing is seen.
      column = columns(s, number * TILE)
      scores.append((slot, masked(s, (column >= begins[first + slot]) & (column < end))))
    for j, (slot, s) in enumerate(scores):
      add(by_slot, slot, s, values[j])

  if prefix:
    begin(of_prefix, prefix_piece(0), 0)
  begin(of_prompts, prompts_piece(0), 0)

  @pl.when(count > 0)
  def _():
    begin(of_own, own_piece(0), 0)

  for x, value in zip(together, (0.0, 0.0, MASKED), strict=True):
    x[...] = jnp.full(x.shape, value)

  @pl.loop(0, each // _SIDE)
  def _(i):
    some = pl.ds(i * _SIDE, _SIDE)
    step = jax.lax.broadcasted_iota(jnp.int32, (_SIDE, steps, width), 1)
    for new, old, chunk in ((new_k, _chunk_k, chunk_k), (new_v, _chunk_v, chunk_v)):
      new = jnp.broadcast_to(new[i].astype(jnp.float32)[:, None], step.shape)  # No other type is spread so.
      chunk[some] = jnp.where(step == at[0], new.astype(dtype), old[some])
    s = product(stacked[i], chunk_k[some].reshape(_SIDE * steps, width), 1)
    query, column = jax.lax.broadcasted_iota(jnp.int32, s.shape, 0), columns(s)
    age = at[0] - column % steps
    seen = (query // group == column // steps) & (age >= 0)
    if window is not None:
      seen &= age < window
    add(together, queries(i), masked(s, seen), chunk_v[some].reshape(_SIDE * steps, width))

  if prefix:
    in_turn(prefix[0].shape[-1] // TILE, of_prefix, prefix_piece, attend_prefix)
  in_turn(max(1, each // a_set) * pieces, of_prompts, prompts_piece, attend_prompts)

  @pl.loop(0, each // _SIDE)
  def _(i):
    for some, one in zip(together, by_slot, strict=True):
      x = some[queries(i)]
      for j in range(_SIDE):
        one[i * _SIDE + j] = x[j * group : (j + 1) * group]

  in_turn(pl.cdiv(count, _AT_ONCE), of_own, own_piece, attend_own)
  at_once = wide.shape[0]

  @pl.loop(0, each // at_once)
  def _(i):
    sums, total, _ = by_slot
    for j in range(at_once):
      slot = i * at_once + j
      x = sums[slot] / total[slot][:, :1]
      for g in range(group):
        wide[j : j + 1, g * width : (g + 1) * width] = x[g : g + 1]
    out[pl.ds(i * at_once, at_once)] = wide[...].astype(out.dtype)
