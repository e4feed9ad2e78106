"""Causal attention within the segments of packed rows, for training: in blocks of queries, backward recomputed.

Scores exist for one block at a time and are made again in the backward pass (as in arXiv 2205.14135), so memory grows
with the length, not with its square; keys after a block are never looked at.
"""

from __future__ import annotations

import functools

import jax
import jax.numpy as jnp
from jax.ad_checkpoint import checkpoint_name
from jaxtyping import Array, Float, Int

NAME = 'attention'
"""What the backward pass needs of the forward one, for rematerialisation policies."""

_BLOCK = 128
"""Queries at a time, at least; a row has at most `_BLOCKS` blocks, as each is compiled."""
_BLOCKS = 8

_MASKED = -1e30


@functools.partial(jax.custom_vjp, nondiff_argnums=(5, 6))
def self_attention(
  q: Float[Array, 'B L N H'],
  k: Float[Array, 'B L K H'],
  v: Float[Array, 'B L K H'],
  segment_ids: Int[Array, 'B L'],
  positions: Int[Array, 'B L'],
  window: int | None,
  softcap: float | None,
) -> Float[Array, 'B L N H']:
  """Softmax attention over the earlier keys of the same segment, and the query's own.

  Args:
    q: queries, scaled and after RoPE.
    k: keys after RoPE; N / K neighbouring query heads share one.
    v: values.
    segment_ids: a query sees keys of its own segment.
    positions: within the segment.
    window: see keys less than so many positions back; None: all.
    softcap: scores become cap * tanh(scores / cap); None: they stay.
  """
  return _forward(q, k, v, segment_ids, positions, window, softcap)[0]


def is_safe(softcap: float | None) -> bool:
  """Whether scores with this cap need no maximum taken off before exp: exp(60) times any length is a float32."""
  return softcap is not None and softcap <= 60.0


def _forward(q, k, v, segment_ids, positions, window, softcap):
  queries, keys, values = _by_head(q, k.shape[2]), _by_head(k, k.shape[2])[:, :, 0], _by_head(v, v.shape[2])[:, :, 0]
  # The sum of the weights comes out of the product with the values: a pass over the scores less.
  values = jnp.concatenate([values, jnp.ones_like(values[..., :1])], axis=-1)
  outs, norms = [], []
  for start, end in _blocks(q.shape[1]):
    s, _ = _scores(queries[:, :, :, start:end], keys[:, :, :end], softcap)
    s = jnp.where(_seen(segment_ids, positions, window, start, end), s, _MASKED)
    top = 0.0 if is_safe(softcap) else s.max(-1, keepdims=True)
    weights = jnp.exp(s - top).astype(v.dtype)
    out = _product('bkgld,bkdh->bkglh', weights, values[:, :, :end])
    total = out[..., -1:]
    outs.append(out[..., :-1] / total)
    norms.append(jnp.log(total) + top)
  out = checkpoint_name(_by_position(jnp.concatenate(outs, axis=3)).astype(q.dtype), NAME)
  return out, checkpoint_name(jnp.concatenate(norms, axis=3), NAME)


def _with_residuals(q, k, v, segment_ids, positions, window, softcap):
  out, norm = _forward(q, k, v, segment_ids, positions, window, softcap)
  return out, (q, k, v, segment_ids, positions, out, norm)


def _gradients(window, softcap, residuals, grad):
  q, k, v, segment_ids, positions, out, norm = residuals
  heads = k.shape[2]
  queries, keys, values = _by_head(q, heads), _by_head(k, heads)[:, :, 0], _by_head(v, heads)[:, :, 0]
  # d score = weight * (d weight - sum of weight * d weight); the sum is that of out * d out.
  inner = _by_head((out.astype(jnp.float32) * grad).sum(-1, keepdims=True), heads)
  grad = _by_head(grad, heads)
  dq, dk, dv = [], jnp.zeros(keys.shape, jnp.float32), jnp.zeros(values.shape, jnp.float32)
  for start, end in _blocks(q.shape[1]):
    rows, seen = slice(start, end), _seen(segment_ids, positions, window, start, end)
    s, slope = _scores(queries[:, :, :, rows], keys[:, :, :end], softcap)
    weights = jnp.exp(jnp.where(seen, s - norm[:, :, :, rows], _MASKED))
    dweights = _product('bkglh,bkdh->bkgld', grad[:, :, :, rows], values[:, :, :end])
    ds = (weights * (dweights - inner[:, :, :, rows]) * slope).astype(q.dtype)
    dq.append(_product('bkgld,bkdh->bkglh', ds, keys[:, :, :end]))
    dk = dk.at[:, :, :end].add(_product('bkgld,bkglh->bkdh', ds, queries[:, :, :, rows]))
    dv = dv.at[:, :, :end].add(_product('bkgld,bkglh->bkdh', weights.astype(v.dtype), grad[:, :, :, rows]))
  dq = _by_position(jnp.concatenate(dq, axis=3))
  dk, dv = (_by_position(x[:, :, None]) for x in (dk, dv))
  return dq.astype(q.dtype), dk.astype(k.dtype), dv.astype(v.dtype), None, None


self_attention.defvjp(_with_residuals, _gradients)


def _blocks(length: int) -> list[tuple[int, int]]:
  size = max(_BLOCK, -(-length // _BLOCKS))
  return [(start, min(start + size, length)) for start in range(0, length, size)]


def _product(how: str, a, b) -> Float[Array, ...]:
  return jnp.einsum(how, a, b, preferred_element_type=jnp.float32)


def _scores(q: Float[Array, 'B K G l H'], k: Float[Array, 'B K T H'], softcap: float | None):
  """Scores of a block of queries, [B, K, G, l, T], and the slope of the cap."""
  s = _product('bkglh,bkdh->bkgld', q, k)
  if softcap is None:
    return s, 1.0
  s = jnp.tanh(s / softcap)
  return s * softcap, 1.0 - s * s


def _seen(segment_ids, positions, window, start: int, end: int):
  """Which keys up to `end` the queries from `start` to `end` see, [B, 1, 1, l, T]."""
  columns = jnp.arange(end)
  seen = (columns <= columns[start:, None]) & (segment_ids[:, start:end, None] == segment_ids[:, None, :end])
  if window is not None:
    seen &= positions[:, start:end, None] - positions[:, None, :end] < window
  return seen[:, None, None]


def _by_head(x: Float[Array, 'B L N H'], heads: int) -> Float[Array, 'B K G L H']:
  b, length, n, h = x.shape
  return x.reshape(b, length, heads, n // heads, h).transpose(0, 2, 3, 1, 4)


def _by_position(x: Float[Array, 'B K G L H']) -> Float[Array, 'B L N H']:
  """The inverse of `_by_head`."""
  x = x.transpose(0, 3, 1, 2, 4)
  return x.reshape(*x.shape[:2], -1, x.shape[-1])
