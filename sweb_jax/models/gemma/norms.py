"""Root-mean-square norms (arXiv 1910.07467), and what is added up between them.

Between two products of a few rows a chip has little to add and to norm, in a dozen operations of which each takes a
TPU one or two microseconds, whatever its size. A kernel does all of it at once.

Letters in shapes: B batch, L length, D width.
"""

from __future__ import annotations

import functools
from collections.abc import Mapping
from typing import Any

import jax
import jax.numpy as jnp
from jax.sharding import NamedSharding, PartitionSpec
from jaxtyping import Array, Float

_FACTOR = 'factor'
"""Of a norm whose parameters are prepared."""

_ROWS = 16
"""That a call of the kernel's body norms: a tile's of bfloat16, or two tiles' of float32."""

Norm = Mapping[str, Float[Array, 'D']]
"""A norm's parameters."""


def prepared(params: Any) -> Any:
  """The same parameters for a loop that draws: what norms multiply with is computed before it, and not in each step.

  (XLA leaves in a loop what is larger than what it is made of.)
  """
  if not isinstance(params, Mapping):
    return params
  return {_FACTOR: _factor(params)} if set(params) == {'scale'} else {name: prepared(x) for name, x in params.items()}


def rms_norm(x: Float[Array, '*B D'], norm: Norm, eps: float) -> Float[Array, '*B D']:
  """x / rms(x) * (1 + scale), in float32 (the 1 is Gemma's)."""
  x32 = x.astype(jnp.float32)
  x32 = x32 * jax.lax.rsqrt(jnp.mean(jnp.square(x32), axis=-1, keepdims=True) + eps)
  return (x32 * _factor(norm)).astype(x.dtype)


def _factor(norm: Norm) -> Float[Array, D]:
  return norm[_FACTOR] if _FACTOR in norm else 1.0 + norm['scale'].astype(jnp.float32)


def add(
  x: Float[Array, 'B L D'],
  out: Float[Array, 'B L D'] | None,
  after: Norm | None,
  before: Norm | None,
  eps: float,
) -> tuple[Float[Array, 'B L D'], Float[Array, 'B L D'] | None]:
  """x with what a part of a block gave, and the sum as the next part takes it.

  Args:
    x: the stream between blocks.
    out: is added to it; None: nothing.
    after: norms `out`; None: it is added as it is.
    before: norms the sum; None: that is not asked for.
    eps: is added to the mean of squares.
  """
  if out is not None:
    x = x + (out if after is None else rms_norm(out, after, eps))
  return x, None if before is None else rms_norm(x, before, eps)


def fits(x: Float[Array, 'B L D'], where: NamedSharding) -> bool:
  """Whether `add_by_kernel` can do it: with whole tiles on each device, or no more than one."""
  b, length, _ = where.shard_shape(x.shape)
  return b * length <= _ROWS or b * length % _ROWS == 0


def add_by_kernel(
  x: Float[Array, 'B L D'],
  out: Float[Array, 'B L D'] | None,
  after: Norm | None,
  before: Norm | None,
  eps: float,
  *,
  where: NamedSharding,
  interpret: Any = False,
) -> tuple[Float[Array, 'B L D'], Float[Array, 'B L D'] | None]:
  """`add` by a TPU's kernel.

  Args:
    x: as of `add`, as are the next three; norms are prepared.
    out: is added.
    after: norms it.
    before: norms the sum.
    eps: of both norms.
    where: how rows are split over devices.
    interpret: for `pallas_call`, to run it where there is no TPU.
  """
  # XLA does not split a kernel over devices by itself.
  call = jax.shard_map(
    functools.partial(_call, eps=eps, interpret=interpret),
    mesh=where.mesh,
    in_specs=(where.spec, where.spec, PartitionSpec(), PartitionSpec()),
    out_specs=where.spec,
    check_vma=False,
  )
  found = call(x, out, after, before)
  return found.get('sum', x), found.get('normed')


def _call(x, out, after, before, *, eps, interpret):
  """Of one device."""
  from jax.experimental import pallas as pl  # 0.2 s of a start that needs none.

  def rows(x):
    return x.reshape(-1, x.shape[-1])

  given = rows(x), out if out is None else rows(out), *jax.tree.map(rows, (after, before))
  count, width = given[0].shape
  each = min(count, _ROWS)
  found = {name: given[0] for name, asked in (('sum', out), ('normed', before)) if asked is not None}
  of_rows = pl.BlockSpec((each, width), lambda i: (i, 0))
  specs = jax.tree.map(lambda x: pl.BlockSpec((1, width), lambda i: (0, 0)) if len(x) == 1 else of_rows, given)

  def body(*refs):
    *given, found = refs
    x, normed = add(*jax.tree.map(lambda ref: ref[...], given), eps)
    for name, value in (('sum', x), ('normed', normed)):
      if name in found:
        found[name][...] = value

  made = pl.pallas_call(
    body,
    grid=(count // each,),
    in_specs=specs,
    out_specs=jax.tree.map(lambda x: of_rows, found),
    out_shape=jax.tree.map(lambda x: jax.ShapeDtypeStruct(x.shape, x.dtype), found),
    cost_estimate=pl.CostEstimate(
      flops=0, transcendentals=0, bytes_accessed=sum(x.nbytes for x in jax.tree.leaves((given, found)))
    ),
    interpret=interpret,
  )(*given)
  return jax.tree.map(lambda y: y.reshape(x.shape), made)
