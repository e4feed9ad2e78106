"""Attention in blocks against attention with all scores at once."""

from __future__ import annotations

import functools

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from sweb_jax.models import self_attention

TOLERANCE = 2e-5
"""Relative to the largest value; float32."""


def plain(q, k, v, segment_ids, positions, window, softcap):
  group = q.shape[2] // k.shape[2]
  k, v = (jnp.repeat(x, group, axis=2) for x in (k, v))
  s = jnp.einsum('blnh,btnh->bnlt', q, k)
  s = s if softcap is None else softcap * jnp.tanh(s / softcap)
  seen = np.tri(q.shape[1], dtype=bool) & (segment_ids[:, :, None] == segment_ids[:, None])
  if window is not None:
    seen &= positions[:, :, None] - positions[:, None] < window
  return jnp.einsum('bnlt,btnh->blnh', jax.nn.softmax(jnp.where(seen[:, None], s, -jnp.inf)), v)


@pytest.mark.parametrize('heads', [(4, 4), (4, 2), (3, 1)], ids=str)
@pytest.mark.parametrize(('window', 'softcap'), [(None, None), (3, None), (None, 5.0), (3, 100.0)])
def test_output_and_gradients_are_those_of_plain_attention(monkeypatch, heads, window, softcap):
  """Several blocks, the last of them short; packed rows with padding."""
  monkeypatch.setattr(self_attention, '_BLOCK', 4)
  rng = np.random.default_rng(0)
  q, k, v = (3 * rng.standard_normal((2, 11, n, 6), np.float32) for n in (heads[0], heads[1], heads[1]))
  segment_ids = np.array([[1] * 5 + [2] * 4 + [0] * 2, [1] * 11])
  positions = np.array([[*range(5), *range(4), 0, 0], [*range(11)]])
  target = rng.standard_normal(q.shape, np.float32)

  @functools.partial(jax.jit, static_argnums=0)  # One by one the operations take ten times as long to compile.
  def run(attend, q, k, v):
    def loss(q, k, v):
      out = attend(q, k, v, segment_ids, positions, window, softcap)
      return (out * target).sum(), out

    (_, out), grads = jax.value_and_grad(loss, (0, 1, 2), has_aux=True)(q, k, v)
    return out, grads

  found, wanted = (run(attend, q, k, v) for attend in (self_attention.self_attention, plain))
  for a, b in zip(jax.tree.leaves(found), jax.tree.leaves(wanted), strict=True):
    np.testing.assert_allclose(a, b, rtol=0, atol=TOLERANCE * np.abs(b).max())
