"""The kernel that reads what is in use gives what products with the whole cache give."""

from __future__ import annotations

import json
import pathlib

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from jax.experimental.pallas import tpu as pltpu
from jax.sharding import NamedSharding, PartitionSpec

from sweb_jax.models.cached_attention import Segment, attention, cached
from sweb_jax.models.sharding import make_mesh
from sweb_jax.sampling import ragged
from tests import forked

TOLERANCE = {jnp.float32: 5e-6, jnp.bfloat16: 4e-2}
"""Absolute, of sums of values of variance 1. In bfloat16 the products of the reference are rounded, those of the kernel
are not."""
WIDTH, COLUMNS = 128, 384
ENDS = np.array([0, 16, 128, 144, 0, 48, 384, 272], np.int32)
BEGINS = np.array([0, 0, 0, 130, 0, 32, 100, 128], np.int32)
"""No key, one tile, whole tiles, the first tile left behind, tiles in part."""
INTERPRET = {128: pltpu.InterpretParams(detect_races=True)}
"""Where there is one call of the kernel's body: JAX's careful interpreter takes a second one's outputs for the
first one's."""


@pytest.mark.parametrize(
  ('dtype', 'cap', 'begins', 'slots', 'a_set', 'heads', 'group', 'each', 'prefix', 'prompts', 'steps', 'at', 'window'),
  [
    (jnp.float32, 5.0, BEGINS, 8, 8, 1, 2, 128, 150, 128, 16, 0, None),  # Of the chunk only the token itself.
    (jnp.float32, None, BEGINS, 8, 2, 1, 2, 128, 128, 256, 16, 15, 8),  # Four sets in a product.
    (jnp.float32, None, 0 * BEGINS, 16, 16, 2, 1, 8, 200, 640, 32, 9, None),  # A set in two calls; five pieces.
    (jnp.bfloat16, 5.0, BEGINS, 16, 1, 2, 2, 8, 0, 128, 16, 9, 8),  # No prefix.
    (jnp.bfloat16, None, BEGINS, 16, 16, 1, 4, 16, 10, 128, 128, 70, 64),
  ],
)
def test_a_token_is_attended_to_as_by_products_with_whole_caches(
  monkeypatch, dtype, cap, begins, slots, a_set, heads, group, each, prefix, prompts, steps, at, window
):
  monkeypatch.setattr(ragged, '_SLOTS', each)
  rng, begins, ends = np.random.default_rng(0), np.resize(begins, slots), np.resize(ENDS, slots)
  where = NamedSharding(make_mesh(), PartitionSpec(('data', 'fsdp'), 'tensor'))

  def normal(*shape):
    return jnp.asarray(rng.standard_normal(shape), dtype)

  def keys(n, columns):
    return cached(normal(n, columns, heads, WIDTH), normal(n, columns, heads, WIDTH))

  q = normal(slots, 1, heads * group, WIDTH) * jnp.asarray(3 * WIDTH**-0.5, dtype)  # Scores that the cap bends.
  new = [normal(slots, 1, heads, WIDTH) for _ in range(2)]
  own, chunk, of_sets = keys(slots, COLUMNS), keys(slots, steps), keys(slots // a_set, prompts)
  shared = jax.tree.map(lambda x: x[0], keys(1, prefix)) if prefix else None
  of_prompt = rng.integers(0, prompts - 20, slots)
  seen = ragged.Seen(
    *(np.asarray(x, np.int32) for x in (rng.integers(0, prefix + 1, slots), of_prompt, of_prompt + 20, begins, ends))
  )

  def between(columns, begins, ends):
    at = np.arange(columns)
    return jnp.asarray((at >= begins[:, None]) & (at < ends[:, None]))[:, None]

  k, v = cached(*new)
  written = chunk[0].at[..., at].set(k[..., 0]), chunk[1].at[:, :, at].set(v[:, :, 0])
  first = np.full(slots, max(0, at + 1 - (window or steps)))
  segments = [
    Segment(of_sets, between(prompts, seen.prompt, seen.prompt_end)),
    Segment(own, between(COLUMNS, begins, ends)),
    Segment(written, between(steps, first, first * 0 + at + 1)),
    *([Segment(shared, between(prefix, seen.prefix, seen.prefix * 0 + prefix))] if prefix else ()),
  ]
  wanted = attention(q, segments, heads, cap)
  assert ragged.fits(own, of_sets, steps, where)
  # Tiles are looked for before the window has moved on.
  todo = ragged.work(own, steps, seen._replace(own=jnp.maximum(0, begins - 10)), where)
  chunk, found = ragged.attend(
    q, new, (chunk[0].transpose(1, 0, 3, 2), chunk[1].swapaxes(0, 1)), ragged.whole(shared) if prefix else None,
    of_sets, own, jnp.int32(at), seen, todo, window, cap, where, INTERPRET.get(each, True),
  )  # fmt: skip
  for x, y in zip(ragged.as_cached(chunk), written, strict=True):
    np.testing.assert_array_equal(np.asarray(x, np.float32), np.asarray(y, np.float32))
  assert found.dtype == wanted.dtype
  np.testing.assert_allclose(*(np.asarray(x, np.float32) for x in (found, wanted)), rtol=0, atol=TOLERANCE[dtype])
  for i in range(len(segments)):  # What is tested matters.
    less = attention(q, segments[:i] + segments[i + 1 :], heads, cap)
    assert np.abs(np.asarray(less - wanted, np.float32)).max() > 20 * TOLERANCE[dtype]


def test_slots_prompts_and_chunks_that_fill_no_tiles_are_left_to_xla():
  where = NamedSharding(make_mesh(), PartitionSpec(('data', 'fsdp'), 'tensor'))

  def keys(n, columns):
    return jnp.zeros((n, 2, WIDTH, columns)), jnp.zeros((n, 2, columns, WIDTH))

  assert ragged.fits(keys(8, 256), keys(2, 128), 16, where)
  assert not ragged.fits(keys(4, 256), keys(1, 128), 16, where)
  assert not ragged.fits(keys(8, 256), keys(2, 96), 16, where)
  assert not ragged.fits(keys(8, 256), keys(2, 128), 24, where)
  assert not ragged.fits(keys(8, 192), keys(2, 128), 16, where)


def test_no_tile_is_read_that_no_slot_uses():
  where, slots, heads = NamedSharding(make_mesh(), PartitionSpec(('data', 'fsdp'), 'tensor')), 8, 2
  own = tuple(jnp.zeros((slots, heads, *shape)) for shape in ((WIDTH, COLUMNS), (COLUMNS, WIDTH)))
  none = jnp.zeros(slots, jnp.int32)
  todo = ragged.work(own, 16, ragged.Seen(none, none, none, jnp.asarray(BEGINS), jnp.asarray(ENDS)), where)
  most = COLUMNS // 128
  used = [
    slot * most + tile
    for slot, (begin, end) in enumerate(zip(BEGINS, ENDS, strict=True))
    for tile in range(most)
    if end > tile * 128 and begin < (tile + 1) * 128
  ]
  assert np.asarray(todo.counts).tolist() == [len(used)]
  assert np.asarray(todo.tiles)[0, 0, : len(used)].tolist() == used


@pytest.mark.slow
def test_on_four_devices_the_kernels_draw_the_text_that_one_draws_without_them():
  done = forked.run(pathlib.Path(__file__).with_name('kernels_on_four_devices.py'))
  assert done.returncode == 0, done.stderr
  found = json.loads(done.stdout.splitlines()[-1])
  # As they are traced: of two layers each, between their products three times.
  assert found['calls'] == found['calls after that'] == {'attend': 2, 'append_by_tile': 2, 'add_by_kernel': 6}
  assert found['with'] == found['without'] == found['turned off']
  lengths = {len(tokens) for *_, tokens in found['without']}
  assert min(lengths) < 128 < max(lengths)
