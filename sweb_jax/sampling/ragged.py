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

from sweb_jax.models.cached_attention import LayerKV
from sweb_jax.sampling import ragged_kernel, tiles
from sweb_jax.sampling.ragged_kernel import AT_ONCE, SIDE
from sweb_jax.sampling.tiles import TILE

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
  aligned = slots % SIDE == 0 == prompts[0].shape[-1] % TILE
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
  room = max(SIDE, _CHUNK // (steps * width * own[0].dtype.itemsize))
  each, most = math.gcd(slots, min(_SLOTS, 1 << room.bit_length() - 1)), columns // TILE

  def local(begins: Int[Array, S], ends: Int[Array, S]) -> Work:
    first = (begins // TILE).reshape(-1, each)
    count = jnp.maximum(0, -(-ends // TILE).reshape(-1, each) - first)
    stops = jnp.cumsum(count, axis=1)
    at = jnp.arange(-(-each * most // AT_ONCE) * AT_ONCE)[None]  # The last of them are looked at too.
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
    return x.reshape(heads, slots // SIDE, -1, width)

  of_chunk = [of_slots(each, steps, width)] * 2
  limits = jnp.stack((seen.prefix, seen.prompt, seen.prompt_end), axis=-1)
  caches = *prefix, *prompts, *own
  found = pl.pallas_call(
    functools.partial(ragged_kernel.body, prefix_columns=prefix_columns, window=window, cap=cap),
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
        of_slots(each // SIDE, SIDE * group, width),
        of_slots(each * group, width),
        *[of_slots(each // SIDE, SIDE, width)] * 2,
        *of_chunk,
        *[pl.BlockSpec(memory_space=pl.ANY)] * len(caches),
      ],
      out_specs=[*of_chunk, of_slots(each, group * width)],
      scratch_shapes=[
        sums(each * group),
        sums(each, group),
        pltpu.VMEM((min(each, 2 * SIDE), group * width), jnp.float32),
        buffers(1, TILE),
        buffers(1, piece),
        buffers(AT_ONCE, TILE),
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
