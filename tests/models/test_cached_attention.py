"""Masks; attention over segments is compared with the plain forward pass by the tests of the engine."""

from __future__ import annotations

import jax.numpy as jnp
import numpy as np

from sweb_jax.models.cached_attention import causal_mask, in_window


def test_the_window_holds_the_query_and_the_keys_before_it():
  seen = np.asarray(in_window(6, jnp.asarray([[9]]), jnp.arange(12)[None]))[0, 0]
  assert np.flatnonzero(seen).tolist() == [4, 5, 6, 7, 8, 9, 10, 11]  # Causality is the other mask's.
  assert np.asarray(causal_mask(3)).tolist() == [[True, False, False], [True, True, False], [True] * 3]


def test_without_a_window_every_key_is_seen():
  assert bool(in_window(None, jnp.asarray([[900]]), jnp.arange(12)[None]).all())
