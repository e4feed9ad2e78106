"""Cross-entropy over a large vocabulary, without all logits and without a second pass for the gradient."""

from __future__ import annotations

import functools

import jax
import jax.numpy as jnp
from jax.sharding import Mesh
from jaxtyping import Array, Float, Int

from sweb_jax.models import sharding
from sweb_jax.models.self_attention import is_safe

_LOGITS_AT_ONCE = 1 << 22
"""Logits of a device that exist at one time, in elements ..."""
_TARGETS_AT_ONCE = 512
"""... unless that is fewer targets than this: each chunk reads and writes the gradient of the whole table."""


@functools.partial(jax.custom_vjp, nondiff_argnums=(4, 5))
def summed_loss(
  x: Float[Array, 'R M D'],
  table: Float[Array, 'V D'],
  targets: Int[Array, 'R M'],
  weights: Float[Array, 'R M'],
  softcap: float | None,
  mesh: Mesh | None = None,
) -> Float[Array, '']:
  """Sum of the weighted negative log-likelihoods of the targets, in nats, in float32.

  Logits are `x @ table.T`, then the soft cap. They are made for some columns at a time; where a gradient is asked for,
  it is computed there and then, as logits, loss and gradient of a token need nothing of other tokens.

  Args:
    x: hidden states at the targets.
    table: the tied embedding.
    targets: ids.
    weights: 0 where there is no target. They get no gradient.
    softcap: logits become cap * tanh(logits / cap); None: they stay.
    mesh: over which the rows are split, and the table by vocabulary and width; None: they are not.
  """

  def piece(total, args):
    return total + _losses(args[0], table, *args[1:], softcap, mesh)[0], None

  return jax.lax.scan(piece, jnp.zeros(()), _split(x, table, targets, weights, mesh))[0]


def _with_gradients(x, table, targets, weights, softcap, mesh):
  table = sharding.keep_table(table, mesh, whole=True)

  def piece(carry, args):
    total, grad = carry
    loss, dlogits = _losses(args[0], table, *args[1:], softcap, mesh)
    dlogits = dlogits.astype(table.dtype)
    of_logits, of_x = (a.reshape(parts, -1, a.shape[-1]) for a in (dlogits, args[0]))
    by_part = sharding.keep_logits(of_logits, mesh), sharding.keep_rows(of_x, mesh)
    grad += jnp.einsum('pnv,pnd->pvd', *by_part, preferred_element_type=jnp.float32)
    return (total + loss, sharding.keep_logits(grad, mesh, 1)), jax.lax.dot(dlogits, table).reshape(args[0].shape)

  # Each part of the mesh adds up its own rows' gradient: all parts together only once, after the last chunk.
  parts = sharding.ways(mesh)
  zero = jnp.zeros(()), sharding.keep_logits(jnp.zeros((parts, *table.shape), jnp.float32), mesh, 1)
  (total, grad), dx = jax.lax.scan(piece, zero, _split(x, table, targets, weights, mesh))
  grad = sharding.keep_table(grad.sum(0), mesh, whole=False)
  dx = jnp.moveaxis(dx, 0, 1).reshape(x.shape[0], -1, x.shape[-1])[:, : x.shape[1]]
  return total, (dx, grad.astype(table.dtype))


def _scaled(softcap, mesh, gradients, by):
  del softcap, mesh
  dx, grad = gradients
  return (dx * by).astype(dx.dtype), (grad * by).astype(grad.dtype), None, None


summed_loss.defvjp(_with_gradients, _scaled)


def targets_at_once(vocab_size: int) -> int:
  """Of how many targets each part of the devices has the logits at one time; all of them, where it has no more."""
  return max(_LOGITS_AT_ONCE // vocab_size, _TARGETS_AT_ONCE)


def _split(x, table, targets, weights, mesh):
  """The arguments in chunks of columns, first dimension the chunk; the last is filled with weight 0."""
  rows, columns = targets.shape
  chunk = targets_at_once(table.shape[0]) * sharding.ways(mesh) // rows
  chunk = min(columns, max(1, chunk))
  pieces = -(-columns // chunk)

  def one(a):
    a = jnp.pad(a, [(0, 0), (0, pieces * chunk - columns)] + [(0, 0)] * (a.ndim - 2))
    return jnp.moveaxis(a.reshape(rows, pieces, chunk, *a.shape[2:]), 1, 0)

  return jax.tree.map(one, (x, targets, weights))


def _losses(x, table, targets, weights, softcap, mesh) -> tuple[Float[Array, ''], Float[Array, 'C V']]:
  """Summed loss of a chunk and its gradient in the logits before the cap."""
  x, targets, weights = x.reshape(-1, x.shape[-1]), targets.reshape(-1, 1), weights.reshape(-1, 1)
  z = jax.lax.dot_general(x, table, (((1,), (1,)), ((), ())), preferred_element_type=jnp.float32)
  z = sharding.keep_logits(z, mesh)
  slope = 1.0
  if softcap is not None:
    z = jnp.tanh(z / softcap)
    z, slope = z * softcap, 1.0 - z * z
  if not is_safe(softcap):
    z -= z.max(-1, keepdims=True)
  e = jnp.exp(z)
  # On CPU far faster than a sum. On TPU and GPU a product would by default round `e` to 8 or 11 bits, an error larger
  # than what is left to learn of a token that is nearly certain.
  total = jax.lax.dot(e, jnp.ones((e.shape[1], 1)), precision=jax.lax.Precision.HIGHEST)
  hit = jnp.arange(table.shape[0]) == targets
  loss = jnp.log(total) - jnp.take_along_axis(z, targets, axis=1)
  return (loss * weights).sum(), (e * (weights / total) - jnp.where(hit, weights, 0.0)) * slope
