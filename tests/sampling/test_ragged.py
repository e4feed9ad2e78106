"""The kernel that reads what is in use gives what products with the whole cache give."""

from __future__ import annotations

import json
import pathlib

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
SLOTS, HEADS, GROUP, WIDTH, COLUMNS = 8, 2, 2, 128, 384
LENGTHS = np.array([0, 16, 128, 144, 0, 48, 384, 272], np.int32)
BEGINS = np.array([0, 0, 0, 130, 0, 32, 100, 128], np.int32)
"""No key, one block, whole blocks, the first block left behind, blocks in part."""
INTERPRET = {128: pltpu.InterpretParams(detect_races=True), 4: True}
"""By rows a call of the kernel's body; JAX's careful interpreter takes a second call's outputs for the first one's."""


@pytest.mark.parametrize(
  ('dtype', 'cap', 'begins', 'slots', 'rows', 'steps', 'at', 'window'),
  [
    (jnp.float32, 5.0, BEGINS, SLOTS, 128, 16, 0, None),  # Of the chunk only the token itself.
    (jnp.float32, None, BEGINS, 2, 128, 16, 15, 8),  # 12 blocks at most, 8 of them read at once.
    (jnp.float32, None, 0 * BEGINS, SLOTS, 4, 32, 9, None),
    (jnp.bfloat16, 5.0, BEGINS, SLOTS, 4, 16, 9, 8),
    (jnp.bfloat16, None, BEGINS, SLOTS, 4, 128, 70, 64),
  ],
)
def test_what_a_row_has_drawn_weighs_as_in_products_with_its_whole_caches(
  monkeypatch, dtype, cap, begins, slots, rows, steps, at, window
):
  monkeypatch.setattr(ragged, '_ROWS', rows)
  rng, lengths, begins = np.random.default_rng(0), LENGTHS[-slots:], begins[-slots:]
  where = NamedSharding(make_mesh(), PartitionSpec(('data', 'fsdp'), 'tensor'))

  def normal(*shape):
    return jnp.asarray(rng.standard_normal((slots, *shape)), dtype)

  q, new = normal(1, HEADS * GROUP, WIDTH), [normal(1, HEADS, WIDTH) for _ in range(2)]
  q *= 3 * WIDTH**-0.5  # Scores that the cap bends.
  kv, chunk = (cached(*(normal(n, HEADS, WIDTH) for _ in range(2))) for n in (COLUMNS, steps))
  prompt = Segment((normal(3, HEADS, WIDTH), normal(3, HEADS, WIDTH)), jnp.ones((slots, 1, 3), bool), fresh=True)
  k, v = cached(*new)
  written = chunk[0].at[..., at].set(k[..., 0]), chunk[1].at[:, :, at].set(v[:, :, 0])
  columns, age = np.arange(COLUMNS), at - np.arange(steps)
  of_cache = Segment(kv, jnp.asarray((columns < lengths[:, None]) & (columns >= begins[:, None]))[:, None])
  of_chunk = Segment(written, jnp.asarray((age >= 0) & (age < (window or steps)))[None, None])
  wanted = attention(q, [prompt, of_cache, of_chunk], HEADS, cap)
  assert ragged.fits(kv, steps, where)
  # Blocks are looked for before the window has moved on.
  todo = ragged.work(kv, steps, jnp.maximum(0, begins - 10), jnp.asarray(lengths), where)
  (ks, vs), part = ragged.attend(
    q, new, (chunk[0].swapaxes(2, 3), chunk[1]), kv, jnp.int32(at), jnp.asarray(begins), jnp.asarray(lengths), todo,
    window, cap, where, INTERPRET[rows],
  )  # fmt: skip
  np.testing.assert_array_equal(*(np.asarray(x, np.float32) for x in (ks.swapaxes(2, 3), written[0])))
  np.testing.assert_array_equal(*(np.asarray(x, np.float32) for x in (vs, written[1])))
  found = attention(q, [prompt], HEADS, cap, [part])
  assert found.dtype == wanted.dtype
  np.testing.assert_allclose(*(np.asarray(x, np.float32) for x in (found, wanted)), rtol=0, atol=TOLERANCE[dtype])
  for less in ([prompt, of_cache], [prompt, of_chunk]):  # What is tested matters.
    assert np.abs(np.asarray(attention(q, less, HEADS, cap) - wanted, np.float32)).max() > 20 * TOLERANCE[dtype]


def test_no_block_is_read_that_no_row_uses():
  where = NamedSharding(make_mesh(), PartitionSpec(('data', 'fsdp'), 'tensor'))
  kv = tuple(jnp.zeros((SLOTS, HEADS, *shape)) for shape in ((WIDTH, COLUMNS), (COLUMNS, WIDTH)))
  todo = ragged.work(kv, 16, jnp.asarray(BEGINS), jnp.asarray(LENGTHS), where)
  most = COLUMNS // 128
  used = [
    (slot * HEADS + head) * most + block
    for slot, (begin, end) in enumerate(zip(BEGINS, LENGTHS, strict=True))
    for head in range(HEADS)
    for block in range(most)
    if end > block * 128 and begin < (block + 1) * 128
  ]
  assert np.asarray(todo.counts).tolist() == [len(used)]
  assert np.asarray(todo.blocks)[0, 0, : len(used)].tolist() == used


@pytest.mark.slow
def test_on_four_devices_the_kernels_draw_the_text_that_one_draws_without_them():
  done = forked.run(pathlib.Path(__file__).with_name('kernels_on_four_devices.py'))
  assert done.returncode == 0, done.stderr
  found = json.loads(done.stdout.splitlines()[-1])
  assert found['calls'] == 2  # A time for each layer, as it is traced.
  assert found['with'] == found['without'] == found['turned off']
  assert found['calls when turned off'] == 0
  lengths = {len(tokens) for *_, tokens in found['without']}
  assert min(lengths) < 128 < max(lengths)
