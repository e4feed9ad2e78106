"""Attention of a row's next token to what the row itself has drawn: a TPU kernel that reads what is in use.

Rows are of all lengths, and the caches have room for the longest: a product with a whole cache reads several times what
its rows have. The kernel goes through the blocks of 128 columns that are in use, of one row after another; a row's
blocks are added up in their order, so that its result depends on no other row.

A row's chunk, to which the token's own key and value are written first, comes before its blocks. Chunks of neighbours
are attended to together, so many that they fill a tile; what belongs to another row weighs exactly 0.

Letters in shapes: S slots, K KV heads, G query heads of each, H head width, T columns of a slot, C steps of a chunk; on
one device R = S K rows; the kernel's body is called I times, each time for R / I rows with J blocks at most.
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
from sweb_jax.models.cached_attention import MASKED, Attended, LayerKV, softcap
from sweb_jax.sampling import tiles
from sweb_jax.sampling.tiles import TILE, precision

_AT_ONCE = 8
"""Blocks that are on their way together, while as many others are attended to."""
_ROWS = 128
_CHUNK = 1 << 19
"""Bytes of a call's keys, or values, of the chunk: eight times as much is kept in a core's fast memory."""


class Work(NamedTuple):
  """What there is to read, the same for all layers of one window."""

  blocks: Int[Array, 'I 1 J']
  """For each call of the body, row * (T / 128) + block."""
  counts: Int[Array, I]
  """How many of them there are; what follows is padding."""


Chunk = tuple[Float[Array, 'S K C H'], Float[Array, 'S K C H']]
"""Keys (after RoPE) and values of a layer in a chunk."""


def fits(kv: LayerKV, steps: int, where: NamedSharding) -> bool:
  """Whether the kernel can read a cache, and chunks of so many steps: in whole tiles, with heads split as queries."""
  tensor = where.mesh.shape['tensor']
  return tiles.whole(kv, steps) and (tensor == 1 or where.spec[1] == 'tensor')


def work(kv: LayerKV, steps: int, begins: Int[Array, S], lengths: Int[Array, S], where: NamedSharding) -> Work:
  """The blocks with columns from `begins` to before `lengths`, of each row.

  Args:
    kv: of a layer, [S, K, H, T] and [S, K, T, H].
    steps: of a chunk.
    begins: the first column that is seen.
    lengths: columns in use.
    where: how slots and heads are split over devices.
  """
  slots, heads, width, columns = where.shard_shape(kv[0].shape)
  room = max(1, _CHUNK // (steps * width * kv[0].dtype.itemsize))
  each, most = math.gcd(slots * heads, min(_ROWS, 1 << room.bit_length() - 1)), columns // TILE

  def local(begins: Int[Array, S], lengths: Int[Array, S]) -> Work:
    first = jnp.repeat(begins // TILE, heads).reshape(-1, each)
    count = jnp.maximum(0, jnp.repeat(-(-lengths // TILE), heads).reshape(-1, each) - first)
    ends = jnp.cumsum(count, axis=1)
    at = jnp.arange(-(-each * most // _AT_ONCE) * _AT_ONCE)[None]  # The last of them are looked at too.
    row = jnp.minimum(jnp.sum(ends[:, None] <= at[..., None], axis=-1), each - 1)
    block = at + jnp.take_along_axis(first - (ends - count), row, axis=1)
    return Work(jnp.where(at < ends[:, -1:], row * most + block, 0)[:, None], ends[:, -1])

  rows = PartitionSpec(where.spec[0])
  return jax.shard_map(local, mesh=where.mesh, in_specs=rows, out_specs=rows, check_vma=False)(begins, lengths)


def attend(
  q: Float[Array, 'S 1 N H'],
  new: tuple[Float[Array, 'S 1 K H'], Float[Array, 'S 1 K H']],
  chunk: Chunk,
  kv: LayerKV,
  at: Int[Array, ''],
  begins: Int[Array, S],
  lengths: Int[Array, S],
  todo: Work,
  window: int | None,
  cap: float | None,
  where: NamedSharding,
  interpret: Any = False,
) -> tuple[Chunk, Attended]:
  """What each row's own columns give, those of the chunk included, and the chunk with the token's key and value.

  Args:
    q: queries, scaled and after RoPE.
    new: the token's own key (after RoPE) and value.
    chunk: of a layer; what stands at `at` and after it is of no use.
    kv: of a layer, [S, K, H, T] and [S, K, T, H].
    at: step of the chunk.
    begins: the first column of `kv` that is seen; no earlier than those with which `todo` was made.
    lengths: columns of `kv` in use.
    todo: of `work`.
    window: how many columns are seen at most; None: all.
    cap: scores become cap * tanh(scores / cap); None: they stay.
    where: how slots and heads are split over devices.
    interpret: for `pallas_call`, to run it where there is no TPU.
  """
  slots, _, n, width = q.shape
  heads = kv[0].shape[1]
  rows = PartitionSpec(where.spec[0])
  split = jax.shard_map(
    functools.partial(_rows, window=window, cap=cap, interpret=interpret),
    mesh=where.mesh,
    in_specs=(*[where.spec] * 7, PartitionSpec(), rows, rows, rows),
    out_specs=where.spec,
    check_vma=False,
  )
  q = q.reshape(slots, heads, n // heads, width)
  new = (x.swapaxes(1, 2) for x in new)
  *chunk, out, total, top = split(q, *new, *chunk, *kv, at, begins, lengths, todo)
  return tuple(chunk), Attended(out[:, None], total[:, None, ..., :1], top[:, None, ..., :1])


def _rows(q, new_k, new_v, chunk_k, chunk_v, k, v, at, begins, lengths, todo, *, window, cap, interpret):
  from jax.experimental import pallas as pl  # 0.2 s of a start that needs none.
  from jax.experimental.pallas import tpu as pltpu

  slots, heads, group, width = q.shape
  rows, columns, steps = slots * heads, k.shape[-1], chunk_k.shape[2]
  each = rows // todo.counts.shape[0]
  side = math.gcd(each, TILE // steps)  # Rows whose chunks are side by side.
  of_row = q, new_k, new_v, chunk_k, chunk_v, k, v
  q, new_k, new_v, chunk_k, chunk_v, k, v = (x.reshape(rows, *x.shape[2:]) for x in of_row)

  def of_rows(*shape):
    return pl.BlockSpec((each, *shape), lambda i, *_: (i, 0, 0))

  of_all = pl.BlockSpec(memory_space=pl.ANY)
  stacked = pl.BlockSpec((each // side, side * group, width), lambda i, *_: (i, 0, 0))
  chunk = of_rows(steps, width)
  out = [of_rows(group, n) for n in (width, TILE, TILE)]
  found = pl.pallas_call(
    functools.partial(_attend, window=window, cap=cap, most=columns // TILE),
    out_shape=[
      *[jax.ShapeDtypeStruct(x.shape, x.dtype) for x in (chunk_k, chunk_v)],
      *[jax.ShapeDtypeStruct((rows, group, n), jnp.float32) for n in (width, TILE, TILE)],
    ],
    grid_spec=pltpu.PrefetchScalarGridSpec(
      num_scalar_prefetch=4,
      grid=(rows // each,),
      in_specs=[
        pl.BlockSpec((1, 1, todo.blocks.shape[-1]), lambda i, *_: (i, 0, 0), memory_space=pltpu.SMEM),
        of_rows(group, width),
        stacked,
        *[of_rows(1, width)] * 2,
        *[chunk] * 2,
        *[of_all] * 2,
      ],
      out_specs=[chunk, chunk, *out],
      scratch_shapes=[
        pltpu.VMEM((2, _AT_ONCE, width, TILE), k.dtype),
        pltpu.VMEM((2, _AT_ONCE, TILE, width), v.dtype),
        pltpu.SemaphoreType.DMA((2,)),
      ],
    ),
    input_output_aliases={9: 0, 10: 1},
    # As if all columns were in use.
    cost_estimate=pl.CostEstimate(
      flops=4 * rows * group * width * columns,
      transcendentals=rows * group * columns,
      bytes_accessed=k.nbytes + v.nbytes + 2 * (chunk_k.nbytes + chunk_v.nbytes),
    ),
    interpret=interpret,
  )(
    at[None],
    todo.counts,
    jnp.repeat(begins, heads),
    jnp.repeat(lengths, heads),
    todo.blocks,
    q,
    q.reshape(-1, side * group, width),
    new_k,
    new_v,
    chunk_k,
    chunk_v,
    k,
    v,
  )
  return tuple(x.reshape(slots, heads, *x.shape[1:]) for x in found)


def _attend(
  at, counts, begins, lengths, blocks, q, stacked, new_k, new_v, _chunk_k, _chunk_v, k, v,
  chunk_k, chunk_v, out, total, top, keys, values, arrived, *, window, cap, most,
):  # fmt: skip
  """The kernel's body, for some rows: while a group of blocks is attended to, the next one's are read."""
  from jax.experimental import pallas as pl
  from jax.experimental.pallas import tpu as pltpu

  call, (rows, group, width), steps = pl.program_id(0), q.shape, chunk_k.shape[1]
  count = counts[call]
  groups = pl.cdiv(count, _AT_ONCE)
  safe = self_attention.is_safe(cap)
  product = functools.partial(jax.lax.dot_general, preferred_element_type=jnp.float32, precision=precision(k.dtype))

  def block(i):
    """Row among these, first column."""
    return blocks[0, 0, i] // most, blocks[0, 0, i] % most * TILE

  def reads(i, buffer):
    for j in range(_AT_ONCE):
      row, column = block(i * _AT_ONCE + j)
      row, columns = call * rows + row, pl.ds(pl.multiple_of(column, TILE), TILE)
      yield pltpu.make_async_copy(k.at[row, :, columns], keys.at[buffer, j], arrived.at[buffer])
      yield pltpu.make_async_copy(v.at[row, columns], values.at[buffer, j], arrived.at[buffer])

  def begin(i, buffer):
    for copy in reads(i, buffer):
      copy.start()

  @pl.when(groups > 0)
  def _():
    begin(0, 0)

  @pl.loop(0, stacked.shape[0])
  def _(i):
    side = rows // stacked.shape[0]
    some = pl.ds(i * side, side)
    column = jax.lax.broadcasted_iota(jnp.int32, (side, steps, width), 1)
    for new, old, chunk in ((new_k, _chunk_k, chunk_k), (new_v, _chunk_v, chunk_v)):
      chunk[some] = jnp.where(column == at[0], new[some], old[some])
    ours, all_k, all_v = stacked[i], chunk_k[some], chunk_v[some]
    s = product(ours, all_k.reshape(side * steps, width), (((1,), (1,)), ((), ())))
    query, column = (jax.lax.broadcasted_iota(jnp.int32, s.shape, axis) for axis in (0, 1))
    age = at[0] - column % steps
    seen = (query // group == column // steps) & (age >= 0)
    if window is not None:
      seen &= age < window
    s = jnp.where(seen, softcap(s, cap), MASKED)
    highest = jnp.zeros((side * group, 1)) if safe else s.max(-1, keepdims=True)
    w = jnp.exp(s - highest)
    given = product(w.astype(v.dtype), all_v.reshape(side * steps, width), (((1,), (0,)), ((), ())))
    sums = w.sum(-1, keepdims=True)
    for j in range(side):
      row, of_row = i * side + j, slice(j * group, (j + 1) * group)
      out[row] = given[of_row]
      total[row], top[row] = (jnp.broadcast_to(x[of_row], (group, TILE)) for x in (sums, highest))

  @pl.loop(0, groups)
  def _(i):
    buffer = i % 2

    @pl.when(i + 1 < groups)
    def _():
      begin(i + 1, 1 - buffer)

    for copy in reads(i, buffer):
      copy.wait()
    column_of, scores = jax.lax.broadcasted_iota(jnp.int32, (group, TILE), 1), []
    for j in range(_AT_ONCE):
      row, column = block(i * _AT_ONCE + j)
      end = jnp.where(i * _AT_ONCE + j < count, lengths[call * rows + row], 0)  # Of padding nothing is seen.
      seen = (column + column_of < end) & (column + column_of >= begins[call * rows + row])
      s = product(q[row], keys[buffer, j], (((1,), (0,)), ((), ())))
      scores.append((row, jnp.where(seen, softcap(s, cap), MASKED)))
    for j, (row, s) in enumerate(scores):
      if not safe:
        before = top[row]
        top[row] = jnp.maximum(before, s.max(-1, keepdims=True))
        s -= top[row]
        fade = jnp.exp(before - top[row])
        out[row] *= fade[:, :1]
        total[row] *= fade
      w = jnp.exp(s)
      total[row] += jnp.broadcast_to(w.sum(-1, keepdims=True), (group, TILE))
      out[row] += product(w.astype(v.dtype), values[buffer, j], (((1,), (0,)), ((), ())))
