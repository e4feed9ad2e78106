"""Attention of a row's next token to what the row itself has drawn: a TPU kernel that reads what is in use.

Rows are of all lengths, and the caches have room for the longest: a product with a whole cache reads several times what
its rows have. The kernel goes through the blocks of 128 columns that are in use, of one row after another; a row's
blocks are added up in their order, so that its result depends on no other row.

Letters in shapes: S slots, K KV heads, G query heads of each, H head width, T columns of a slot; on one device R = S K
rows; the kernel's body is called I times, each time for R / I rows with J blocks at most.
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
from sweb_jax.sampling.tiles import TILE, precision

_AT_ONCE = 8
"""Blocks that are on their way together, while as many others are attended to."""
_ROWS = 128


class Work(NamedTuple):
  """What there is to read, the same for all layers of one window."""

  blocks: Int[Array, 'I 1 J']
  """For each call of the body, row * (T / 128) + block."""
  counts: Int[Array, I]
  """How many of them there are; what follows is padding."""


def fits(kv: LayerKV, where: NamedSharding) -> bool:
  """Whether the kernel can read a cache: in whole tiles, with heads split as those of the queries are."""
  *_, width, columns = kv[0].shape
  tensor = where.mesh.shape['tensor']
  return width % TILE == 0 and columns % TILE == 0 and (tensor == 1 or where.spec[1] == 'tensor')


def work(kv: LayerKV, begins: Int[Array, S], lengths: Int[Array, S], where: NamedSharding) -> Work:
  """The blocks with columns from `begins` to before `lengths`, of each row.

  Args:
    kv: of a layer, [S, K, H, T] and [S, K, T, H].
    begins: the first column that is seen.
    lengths: columns in use.
    where: how slots and heads are split over devices.
  """
  slots, heads, _, columns = where.shard_shape(kv[0].shape)
  each, most = math.gcd(slots * heads, _ROWS), columns // TILE

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
  kv: LayerKV,
  begins: Int[Array, S],
  lengths: Int[Array, S],
  todo: Work,
  cap: float | None,
  where: NamedSharding,
  interpret: Any = False,
) -> Attended:
  """What each row's own columns give.

  Args:
    q: queries, scaled and after RoPE.
    kv: of a layer, [S, K, H, T] and [S, K, T, H].
    begins: the first column that is seen; no earlier than those with which `todo` was made.
    lengths: columns in use.
    todo: of `work`.
    cap: scores become cap * tanh(scores / cap); None: they stay.
    where: how slots and heads are split over devices.
    interpret: for `pallas_call`, to run it where there is no TPU.
  """
  slots, _, n, width = q.shape
  heads = kv[0].shape[1]
  rows = PartitionSpec(where.spec[0])
  split = jax.shard_map(
    functools.partial(_rows, cap=cap, interpret=interpret),
    mesh=where.mesh,
    in_specs=(where.spec, where.spec, where.spec, rows, rows, rows),
    out_specs=where.spec,
    check_vma=False,
  )
  out, total, top = split(q.reshape(slots, heads, n // heads, width), *kv, begins, lengths, todo)
  return Attended(out[:, None], total[:, None, ..., :1], top[:, None, ..., :1])


def _rows(q, k, v, begins, lengths, todo, *, cap, interpret):
  from jax.experimental import pallas as pl  # 0.2 s of a start that needs none.
  from jax.experimental.pallas import tpu as pltpu

  slots, heads, group, width = q.shape
  rows, columns = slots * heads, k.shape[-1]
  each = rows // todo.counts.shape[0]
  q, k, v = (x.reshape(rows, *x.shape[2:]) for x in (q, k, v))

  def of_rows(*shape):
    return pl.BlockSpec((each, *shape), lambda i, *_: (i, 0, 0))

  of_all = pl.BlockSpec(memory_space=pl.ANY)
  found = pl.pallas_call(
    functools.partial(_attend, cap=cap, most=columns // TILE),
    out_shape=[jax.ShapeDtypeStruct((rows, group, n), jnp.float32) for n in (width, TILE, TILE)],
    grid_spec=pltpu.PrefetchScalarGridSpec(
      num_scalar_prefetch=3,
      grid=(rows // each,),
      in_specs=[
        pl.BlockSpec((1, 1, todo.blocks.shape[-1]), lambda i, *_: (i, 0, 0), memory_space=pltpu.SMEM),
        of_rows(group, width),
        of_all,
        of_all,
      ],
      out_specs=[of_rows(group, n) for n in (width, TILE, TILE)],
      scratch_shapes=[
        pltpu.VMEM((2, _AT_ONCE, width, TILE), k.dtype),
        pltpu.VMEM((2, _AT_ONCE, TILE, width), v.dtype),
        pltpu.SemaphoreType.DMA((2,)),
      ],
    ),
    # As if all columns were in use.
    cost_estimate=pl.CostEstimate(
      flops=4 * rows * group * width * columns,
      transcendentals=rows * group * columns,
      bytes_accessed=k.nbytes + v.nbytes,
    ),
    interpret=interpret,
  )(todo.counts, jnp.repeat(begins, heads), jnp.repeat(lengths, heads), todo.blocks, q, k, v)
  return tuple(x.reshape(slots, heads, group, -1) for x in found)


def _attend(counts, begins, lengths, blocks, q, k, v, out, total, top, keys, values, arrived, *, cap, most):
  """The kernel's body, for some rows: while a group of blocks is attended to, the next one's are read."""
  from jax.experimental import pallas as pl
  from jax.experimental.pallas import tpu as pltpu

  step, (rows, group, _) = pl.program_id(0), q.shape
  count = counts[step]
  groups = pl.cdiv(count, _AT_ONCE)
  safe = self_attention.is_safe(cap)

  def block(at):
    """Row among these, first column."""
    return blocks[0, 0, at] // most, blocks[0, 0, at] % most * TILE

  def reads(i, buffer):
    for j in range(_AT_ONCE):
      row, column = block(i * _AT_ONCE + j)
      row, columns = step * rows + row, pl.ds(pl.multiple_of(column, TILE), TILE)
      yield pltpu.make_async_copy(k.at[row, :, columns], keys.at[buffer, j], arrived.at[buffer])
      yield pltpu.make_async_copy(v.at[row, columns], values.at[buffer, j], arrived.at[buffer])

  def begin(i, buffer):
    for copy in reads(i, buffer):
      copy.start()

  out[...] = jnp.zeros_like(out)
  total[...] = jnp.zeros_like(total)
  top[...] = jnp.full_like(top, 0.0 if safe else MASKED)

  @pl.when(groups > 0)
  def _():
    begin(0, 0)

  @pl.loop(0, groups)
  def _(i):
    buffer = i % 2

    @pl.when(i + 1 < groups)
    def _():
      begin(i + 1, 1 - buffer)

    for copy in reads(i, buffer):
      copy.wait()
    at, scores = jax.lax.broadcasted_iota(jnp.int32, (group, TILE), 1), []
    for j in range(_AT_ONCE):
      row, column = block(i * _AT_ONCE + j)
      end = jnp.where(i * _AT_ONCE + j < count, lengths[step * rows + row], 0)  # Of padding nothing is seen.
      seen = (column + at < end) & (column + at >= begins[step * rows + row])
      s = jax.lax.dot(q[row], keys[buffer, j], precision=precision(k.dtype), preferred_element_type=jnp.float32)
      scores.append((row, jnp.where(seen, softcap(s, cap), MASKED)))
    for j, (row, s) in enumerate(scores):
      if not safe:  # Until a key is seen what is added up is of no use; then its weight is exactly 0.
        before = top[row]
        top[row] = jnp.maximum(before, s.max(-1, keepdims=True))
        s -= top[row]
        fade = jnp.exp(before - top[row])
        out[row] *= fade[:, :1]
        total[row] *= fade
      w = jnp.exp(s)
      total[row] += jnp.broadcast_to(w.sum(-1, keepdims=True), (group, TILE))
      out[row] += jax.lax.dot(
        w.astype(v.dtype), values[buffer, j], precision=precision(v.dtype), preferred_element_type=jnp.float32
      )
