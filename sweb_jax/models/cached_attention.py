"""Attention of new queries to cached keys and values, in pieces that are never joined: prefill and decoding.

Letters in shapes: B batch, L length, T keys, N heads, K KV heads, G = N / K, H head width; R sets of neighbouring rows
that share their keys, b rows of a set.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import NamedTuple

import jax.numpy as jnp
from jaxtyping import Array, Bool, Float, Int

from sweb_jax.models import self_attention

MASKED = -2.3819763e38
"""What the gemma library writes for a key that is not seen."""

LayerKV = tuple[Float[Array, '... K H T'], Float[Array, '... K T H']]
"""Keys (after RoPE) and values of one layer, each in the order in which a decode step reads it fastest."""


Attend = Callable[
  [int, Float[Array, 'B L N H'], Float[Array, 'B L K H'], Float[Array, 'B L K H']], Float[Array, 'B L N H']
]
"""(layer, queries, its new keys and values) to what the layer's attention gives."""


class Segment(NamedTuple):
  """Keys and values to attend to, and which of them each query sees."""

  kv: LayerKV
  """As cached: [R, K, H, T] and [R, K, T, H], where B / R neighbouring rows share each of R sets; without R all rows
  share one. Or both [B, T, K, H], fresh."""
  seen: Bool[Array, '#B L T']
  fresh: bool = False
  """`kv` is as a block computes it."""


def attention(
  q: Float[Array, 'B L N H'], segments: list[Segment], kv_heads: int, cap: float | None
) -> Float[Array, 'B L N H']:
  """Softmax attention over the keys of all segments together.

  The segments are never concatenated: keys that several rows share are read once, not copied once a row.

  Args:
    q: queries, scaled and after RoPE.
    segments: what they attend to.
    kv_heads: K; N / K neighbouring query heads share one.
    cap: scores become cap * tanh(scores / cap); None: they stay.
  """
  b, length, n, h = q.shape
  heads, group = kv_heads, n // kv_heads
  q = q.reshape(b, length, heads, group, h)
  scores = []
  for (k, _), seen, fresh in segments:
    if fresh:
      # In the order bklgt a single KV head, as small Gemmas have, needs no transposition of queries and scores.
      s = jnp.einsum('blkgh,btkh->bklgt', q, k)[:, :, None]
    else:
      sets = k.shape[0] if k.ndim == 4 else 1
      # `matmul`, as einsum would choose the order of the operands, and with it transpose the whole cache.
      s = jnp.matmul(_by_set(q, sets).reshape(sets, heads, -1, h), k)
      s = s.reshape(sets, heads, b // sets, length, group, -1)
    s = softcap(s.astype(jnp.float32), cap)
    seen = jnp.broadcast_to(seen, (b if seen.shape[0] > 1 else 1, *seen.shape[1:]))
    seen = seen.reshape(-1, s.shape[2] if seen.shape[0] > 1 else 1, *seen.shape[1:])
    scores.append(jnp.where(seen[:, None, :, :, None], s, MASKED))
  if not self_attention.is_safe(cap):
    top = jnp.max(jnp.stack([_by_row(s.max(-1, keepdims=True)) for s in scores]), axis=0)
    scores = [s - _by_set(top, s.shape[0]) for s in scores]
  weights = [jnp.exp(s) for s in scores]
  # A product with ones: XLA's CPU code adds up neighbours several times slower than it multiplies.
  total = sum(_by_row(w @ jnp.ones((w.shape[-1], 1), w.dtype)) for w in weights)
  out = 0.0
  for w, ((_, v), _, fresh) in zip(weights, segments, strict=True):
    w = w.astype(v.dtype)
    if fresh:
      out += jnp.einsum('bklgt,btkh->blkgh', w[:, :, 0], v)
    else:
      o = jnp.matmul(w.reshape(w.shape[0], heads, -1, w.shape[-1]), v)
      out += _by_row(o.reshape(*w.shape[:-1], h))
  return (out / total.astype(out.dtype)).reshape(b, length, n, h)


def _by_set(x: Float[Array, 'B L K G X'], sets: int) -> Float[Array, 'R K b L G X']:
  """Rows in R sets of b that share their keys."""
  b, length, heads, group, last = x.shape
  return x.reshape(sets, b // sets, length, heads, group, last).transpose(0, 3, 1, 2, 4, 5)


def _by_row(x: Float[Array, 'R K b L G X']) -> Float[Array, 'B L K G X']:
  """The inverse of `_by_set`."""
  x = x.transpose(0, 2, 3, 1, 4, 5)
  return x.reshape(-1, *x.shape[2:])


def causal_mask(length: int) -> Bool[Array, 'L L']:
  """Which tokens each token sees: itself and those before it."""
  return jnp.tri(length, dtype=bool)


def in_window(
  window: int | None, queries: Int[Array, '#B L'], keys: Int[Array, '#B T']
) -> Bool[Array, '#B L T']:
  """Which earlier keys each query sees, by their positions: `window` of them, its own included; None: all."""
  if window is None:
    return jnp.ones((1, queries.shape[-1], keys.shape[-1]), bool)
  return queries[:, :, None] - keys[:, None, :] < window


def cached(k: Float[Array, 'B L K H'], v: Float[Array, 'B L K H']) -> LayerKV:
  """Fresh keys and values in the order of a cache."""
  return k.transpose(0, 2, 3, 1), v.swapaxes(1, 2)


def softcap(x: Float[Array, '*n'], cap: float | None) -> Float[Array, '*n']:
  """cap * tanh(x / cap), as Gemma 2 caps scores and logits; None: x."""
  return x if cap is None else jnp.tanh(x / cap) * cap
