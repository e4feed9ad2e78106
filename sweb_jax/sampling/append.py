"""How the keys and values of a chunk join those that each row has: three ways, the same to the bit.

A row's chunk comes after the columns that it has already, whole chunks of them, and so at other columns than its
neighbours'.

Letters in shapes: S slots, K KV heads, H head width, T columns of a slot, C steps of a chunk.
"""

from __future__ import annotations

import functools
import math
from typing import Any

import jax
import jax.numpy as jnp
from jax.sharding import NamedSharding, PartitionSpec
from jaxtyping import Array, Int

from sweb_jax.models.cached_attention import LayerKV
from sweb_jax.sampling import tiles
from sweb_jax.sampling.tiles import TILE, precision

_AT_ONCE = 8
"""Rows whose tiles are on their way together."""


def append(old: LayerKV, new: LayerKV, lengths: Int[Array, S], where: NamedSharding, kernels: bool) -> LayerKV:
  """Writes a chunk after the columns that each row has: as is fastest on the devices.

  Args:
    old: of a layer, [S, K, H, T] and [S, K, T, H].
    new: of a chunk, [S, K, H, C] and [S, K, C, H].
    lengths: columns that each row has, whole chunks.
    where: how slots and heads are split over devices.
    kernels: whether a TPU writes with one.
  """
  if not tiles.on_tpu(where.mesh):
    return append_by_row(old, new, lengths)
  if not kernels or not tiles.whole(old, new[0].shape[-1]):
    return append_in_one_pass(old, new, lengths)
  # XLA does not split a kernel over devices by itself.
  rows = PartitionSpec(where.spec[0])
  split = jax.shard_map(
    append_by_tile, mesh=where.mesh, in_specs=(where.spec, where.spec, rows), out_specs=where.spec, check_vma=False
  )
  return split(old, new, lengths)


def append_by_row(old: LayerKV, new: LayerKV, lengths: Int[Array, S]) -> LayerKV:
  """In place, row by row: a CPU touches nothing else, a TPU takes a microsecond or more for each."""
  put = jax.vmap(jax.lax.dynamic_update_slice_in_dim, in_axes=(0, 0, 0, None))
  return put(old[0], new[0], lengths, 2), put(old[1], new[1], lengths, 1)


def append_in_one_pass(old: LayerKV, new: LayerKV, lengths: Int[Array, S]) -> LayerKV:
  """By a choice of every column, old or new, in a pass over the whole cache."""
  steps, at = new[0].shape[-1], jnp.arange(old[0].shape[-1])
  here = at // steps == lengths[:, None] // steps
  k, dtype = _along(new[0], len(at)), new[1].dtype
  v = jnp.matmul(_repeats(steps, len(at), dtype).T, new[1], precision=precision(dtype))
  return jnp.where(here[:, None, None, :], k, old[0]), jnp.where(here[:, None, :, None], v, old[1])


def _along(k: Array, columns: int) -> Array:
  """The chunk's keys, again and again along so many columns.

  By a product with ones and zeros they are made where they are needed; tiled, they would be kept.
  """
  return jnp.matmul(k, _repeats(k.shape[-1], columns, k.dtype), precision=precision(k.dtype))


def _repeats(steps: int, columns: int, dtype: jnp.dtype) -> Array:
  return (jnp.arange(steps)[:, None] == jnp.arange(columns) % steps).astype(dtype)


def append_by_tile(old: LayerKV, new: LayerKV, lengths: Int[Array, S], interpret: Any = False) -> LayerKV:
  """In place, by a TPU's kernel: of the keys one tile a row and head is read, changed and written; values are copied.

  Args:
    old: of one device; as `append`, with whole tiles (`tiles.whole`).
    new: of one device.
    lengths: columns that each row has.
    interpret: for `pallas_call`, to run it where there is no TPU.
  """
  from jax.experimental import pallas as pl  # 0.2 s of a start that needs none.
  from jax.experimental.pallas import tpu as pltpu

  (k, v), (new_k, new_v) = old, new
  slots, heads, steps, width = new_v.shape
  rows, columns = slots * heads, k.shape[-1]
  at_once = math.gcd(rows, _AT_ONCE)
  buffers, semaphore = (2, at_once, width, TILE), pltpu.SemaphoreType.DMA
  anywhere = pl.BlockSpec(memory_space=pl.ANY)
  item = k.dtype.itemsize
  found = pl.pallas_call(
    functools.partial(_append, at_once=at_once),
    out_shape=[jax.ShapeDtypeStruct((rows, *x.shape[2:]), x.dtype) for x in old],
    grid_spec=pltpu.PrefetchScalarGridSpec(
      num_scalar_prefetch=1,
      grid=(),
      in_specs=[anywhere] * 4,
      out_specs=[anywhere] * 2,
      scratch_shapes=[pltpu.VMEM(buffers, k.dtype)] * 2 + [semaphore((2,))] * 2 + [semaphore],
    ),
    input_output_aliases={3: 0, 4: 1},
    cost_estimate=pl.CostEstimate(
      flops=0, transcendentals=0, bytes_accessed=rows * width * item * (3 * TILE + 2 * steps)
    ),
    interpret=interpret,
  )(
    jnp.repeat(jnp.minimum(lengths, columns - steps), heads),  # A kernel would write outside.
    _along(new_k, TILE).reshape(rows, width, TILE),
    new_v.reshape(rows, steps, width),
    k.reshape(rows, width, columns),
    v.reshape(rows, columns, width),
  )
  return tuple(x.reshape(slots, heads, *x.shape[1:]) for x in found)


def _append(lengths, new_k, new_v, _k, _v, k, v, chunks, held, read, written, copied, *, at_once):
  """The kernel. While a group of rows is changed, the next one's tiles are read, into the other of two buffers."""
  from jax.experimental import pallas as pl
  from jax.experimental.pallas import tpu as pltpu

  steps, width = new_v.shape[1:]
  groups = new_v.shape[0] // at_once

  def rows(group):
    return enumerate(group * at_once + i for i in range(at_once))

  def tile(row):
    return k.at[row, :, pl.ds(pl.multiple_of(lengths[row] // TILE * TILE, TILE), TILE)]

  def reads(group, buffer):
    for i, row in rows(group):
      yield pltpu.make_async_copy(new_k.at[row], chunks.at[buffer, i], read.at[buffer])
      yield pltpu.make_async_copy(tile(row), held.at[buffer, i], read.at[buffer])

  def writes(group, buffer):
    for i, row in rows(group):
      yield pltpu.make_async_copy(held.at[buffer, i], tile(row), written.at[buffer])

  def values(group):
    for _, row in rows(group):
      at = pl.ds(pl.multiple_of(lengths[row], steps), steps)
      yield pltpu.make_async_copy(new_v.at[row], v.at[row, at], copied)

  def begin(*copies):
    for copy in copies:
      copy.start()

  def wait(*copies):  # For all of a group: which of those of one semaphore has arrived is not told.
    for copy in copies:
      copy.wait()

  begin(*reads(0, 0))

  @pl.loop(0, groups)
  def _(group):
    buffer = group % 2
    begin(*values(group))

    @pl.when(group > 0)
    def _():
      wait(*writes(group - 1, 1 - buffer))

    @pl.when(group + 1 < groups)
    def _():
      begin(*reads(group + 1, 1 - buffer))

    wait(*reads(group, buffer))
    column = jax.lax.broadcasted_iota(jnp.int32, (width, TILE), 1)
    for i, row in rows(group):
      here = column // steps == lengths[row] % TILE // steps
      held[buffer, i] = jnp.where(here, chunks[buffer, i], held[buffer, i])
    begin(*writes(group, buffer))
    wait(*values(group))

  wait(*writes(groups - 1, (groups - 1) % 2))
