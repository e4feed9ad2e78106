"""How many slots a run gets."""

from __future__ import annotations

import types

import numpy as np
import pytest

from sweb_jax.models import sharding
from sweb_jax.models.gemma.config import SIZES
from sweb_jax.models.gemma4.config import SIZES as GEMMA4
from sweb_jax.models.sharding import MeshError
from sweb_jax.sampling import SamplingError
from sweb_jax.sampling.capacity import choose_meshes, choose_slots, choose_tensor

CONFIG = SIZES['gemma2_2b']
COLUMNS = 1000
ROW = 2 * 26 * 4 * 256 * COLUMNS * 2 + 12 * CONFIG.vocab_size  # Keys and values of 26 layers, and logits.


def slots(requests: int = 10_000, free: float = 1e12) -> int:
  return choose_slots(
    CONFIG, sharding.make_mesh(), requests=requests, columns=COLUMNS, itemsize=2, free=int(free)
  )


def test_no_more_slots_than_are_of_use():
  assert slots() == 64
  assert slots(requests=16) == 16
  assert slots(requests=17) == 32
  assert slots(requests=1) == 1


@pytest.mark.parametrize(('rows', 'expected'), [(1.5, 1), (2.5, 2), (40, 32), (63.9, 32), (64.1, 64)])
def test_the_cache_and_the_logits_of_all_slots_fit(rows, expected):
  assert slots(free=rows * ROW / 0.7) == expected


def test_a_row_that_does_not_fit_is_an_error_that_says_what_would():
  message = r'a row of 1000 tokens needs \d+ MB .* has \d+ MB free; lower max_new_tokens'
  with pytest.raises(SamplingError, match=message):
    slots(free=ROW / 0.71 - 1e6)


def test_the_free_memory_of_this_machine_is_found():
  assert choose_slots(CONFIG, sharding.make_mesh(), requests=4, columns=16, itemsize=4) == 4


@pytest.mark.parametrize(
  ('name', 'devices', 'memory', 'expected'),
  [
    ('gemma2_27b', 64, 16e9, 16),  # 54 GB in quarters of 16.
    ('gemma2_27b', 64, 95e9, 4),
    ('gemma2_27b', 8, 16e9, 8),  # More would do, but there are 8.
    ('gemma2_9b', 64, 16e9, 8),
    ('gemma2_9b', 64, 95e9, 1),
    ('gemma2_2b', 64, 16e9, 2),
    ('gemma_2b', 64, 16e9, 1),  # One KV head cannot be split.
    ('gemma4_31b', 64, 16e9, 16),  # Local layers have 16, global ones 4, whose caches are whole everywhere.
    ('gemma4_26b_a4b', 64, 16e9, 8),  # 8 and 2.
    ('gemma4_e4b', 64, 16e9, 2),
    ('gemma4_e2b', 64, 16e9, 2),  # One KV head, which both have: 10 GB of weights would leave too little beside them.
  ],
)
def test_on_a_slice_weights_are_split_until_most_of_the_memory_is_left_for_rows(name, devices, memory, expected):
  assert choose_tensor((SIZES | GEMMA4)[name], devices, memory, 2) == expected


def test_weights_that_do_not_fit_are_an_error_that_says_what_would():
  with pytest.raises(SamplingError, match=r'27\.2 GB .* split over 4 devices .* 6 GB; .*config\.sampling\.dtype='):
    choose_tensor(SIZES['gemma2_27b'], 4, 6e9, 1)


class Chip:
  """A TPU chip as a mesh sees it."""

  def __init__(self, number: int, kind: str = 'TPU v5 lite'):
    self.id, self.process_index, self.slice_index = number, number // 4, number // 8
    self.platform, self.device_kind, self.core_on_chip = 'tpu', kind, 0
    self.coords = number % 4, number % 8 // 4, 0


def pod(kind: str) -> types.SimpleNamespace:
  """A training mesh of two slices with two hosts of four chips each."""
  devices = np.empty(16, object)
  devices[:] = [Chip(i, kind) for i in range(16)]
  shape = {'data': 2, 'fsdp': 2, 'tensor': 4}
  return types.SimpleNamespace(devices=devices.reshape(*shape.values()), shape=shape, size=16, is_multi_process=True)


def test_trainings_side_by_side_are_on_slices_of_their_own_before_they_share_one():
  def slices_of_a_run(mesh, runs):
    found = sharding.side_by_side(mesh, runs)
    return found.devices.shape, [{d.slice_index for d in part.flat} for part in found.devices]

  two = pod('TPU v5 lite')
  assert slices_of_a_run(two, 2) == ((2, 1, 2, 4), [{0}, {1}])
  assert slices_of_a_run(two, 4) == ((4, 1, 1, 4), [{0}, {0}, {1}, {1}])
  one = types.SimpleNamespace(devices=two.devices[:1], size=8)
  assert slices_of_a_run(one, 2) == ((2, 1, 1, 4), [{0}, {0}])


def drawn_on(kind: str, draw_on: str) -> list[tuple[int, ...]]:
  """The shapes of the meshes that the parts of a pod draw on; each has neighbouring chips."""
  found = choose_meshes(CONFIG, pod(kind), draw_on=draw_on, itemsize=2, memory=16e9, processes=4)
  parts = [sorted(d.id for d in m.devices.flat) for m in found]
  assert sorted(i for part in parts for i in part) == list(range(16))
  assert all(part == list(range(part[0], part[0] + len(part))) for part in parts)
  return [m.devices.shape for m in found]


def test_a_slice_that_runs_no_part_of_it_draws_as_one_and_others_by_host():
  assert drawn_on('TPU v5 lite', '') == [(4, 1, 2)] * 2
  assert drawn_on('TPU v5', '') == [(1, 1, 4)] * 4
  assert drawn_on('TPU v5', 'slice') == [(4, 1, 2)] * 2
  with pytest.raises(MeshError, match="draw_on='hosts': TPU v5 lite runs no program on a part of a slice"):
    drawn_on('TPU v5 lite', 'hosts')
