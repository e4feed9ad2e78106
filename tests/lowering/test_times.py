"""Seconds of messages over links, by hand."""

from __future__ import annotations

import types

import numpy as np
import pytest

from sweb_jax.budget.machines import CHIPS
from sweb_jax.lowering import times
from sweb_jax.lowering.hlo import Message

CHIP = CHIPS['v5e']
LINK = CHIP.link


def mesh(*extent: int, shape: tuple[int, ...]) -> types.SimpleNamespace:
  """A mesh of chips in a box, row by row; of several boxes where it is larger."""
  box = [tuple(map(int, at)) for at in np.ndindex(*extent)]
  chips = [
    types.SimpleNamespace(coords=at, slice_index=i, platform='tpu')
    for i in range(np.prod(shape) // len(box)) for at in box
  ]  # fmt: skip
  devices = np.empty(len(chips), object)
  devices[:] = chips
  return types.SimpleNamespace(devices=devices.reshape(shape), axis_names=('data', 'fsdp', 'tensor'))


FLAT = mesh(8, 8, shape=(2, 4, 8))
ROW, COLUMN, ALL = tuple(range(8)), tuple(range(0, 64, 8)), tuple(range(64))


def seconds(kind: str, size: int, group: tuple[int, ...], where=FLAT, chip=CHIP) -> float:
  return times.message_seconds([Message(kind, 3.0, size, group)], where, chip)


def test_messages_go_over_the_axes_in_which_their_devices_differ():
  def axes(group):
    return times.axes(Message('all-gather', 1.0, 10, group), FLAT)

  assert axes(ROW) == ('tensor',)
  assert axes(COLUMN) == ('data', 'fsdp')
  assert axes((0, 8)) == ('fsdp',)
  assert axes((5,)) == ()
  found = times.by_axes([Message('all-gather', 2.0, 10, ROW), Message('all-gather', 1.0, 5, tuple(range(8, 16)))], FLAT)
  assert found == {('all-gather', ('tensor',)): (3.0, 25.0)}


def test_a_row_of_chips_brings_what_its_last_chip_lacks_over_one_link():
  assert seconds('all-gather', 800, ROW) == pytest.approx(3 * 700 / LINK)
  assert seconds('all-reduce', 800, ROW) == pytest.approx(3 * 2 * 700 / LINK)
  assert seconds('reduce-scatter', 100, COLUMN) == pytest.approx(3 * 700 / LINK)
  assert seconds('collective-permute', 100, (0, 1)) == pytest.approx(3 * 100 / LINK)
  assert seconds('all-gather', 800, (0,)) == 0


def test_a_plane_has_links_in_both_directions_and_a_ring_has_twice_as_many():
  assert seconds('all-gather', 6400, ALL) == pytest.approx(3 * 6300 / (2 * LINK))
  ring = mesh(16, 16, shape=(1, 16, 16))
  assert seconds('all-gather', 1600, tuple(range(16)), ring) == pytest.approx(3 * 1500 / (2 * LINK))
  # Half of a ring is a row.
  assert seconds('all-gather', 800, tuple(range(8)), ring) == pytest.approx(3 * 700 / LINK)


def test_messages_between_slices_go_over_the_network_and_others_count_the_chips_of_one():
  two = mesh(4, 4, shape=(2, 4, 4))
  runs = types.SimpleNamespace(devices=two.devices.transpose(1, 0, 2), axis_names=('run', 'data', 'tensor'))
  for where, axis in ((two, 'fsdp'), (runs, 'run')):
    columns = Message('all-gather', 1.0, 400, (0, 4, 8, 12))
    assert times.axes(columns, where) == (axis,)
    assert times.message_seconds([columns], where, CHIP) == pytest.approx(300 / LINK)
    for kind, moved in (('all-reduce', 400), ('all-gather', 200), ('reduce-scatter', 400), ('collective-permute', 400)):
      between = Message(kind, 3.0, 400, (), 2)
      assert times.axes(between, where) == ('slices',)
      assert times.message_seconds([between], where, CHIP) == pytest.approx(3 * moved / CHIP.network)


def test_all_to_all_crosses_the_middle_of_a_row():
  # Each of 4 chips sends 1 / 8 of its 800 to each of 4 others: 1,600 over one link.
  assert seconds('all-to-all', 800, ROW) == pytest.approx(3 * 1600 / LINK)


@pytest.mark.parametrize('name', CHIPS)
def test_the_matrix_units_make_the_peak_at_the_clock(name):
  chip = CHIPS[name]
  products = chip.flops / 2 / chip.hertz / 128**2  # Of 128 x 128, each cycle.
  assert products == pytest.approx(round(products), rel=0.01)


def test_a_step_takes_what_its_cycles_and_kernels_do_and_no_less_than_its_bound():
  def compute(cycles: float, kernel_bytes: float) -> float:
    work = types.SimpleNamespace(flops=64 * CHIP.flops * 2e-3, read=CHIP.bandwidth * 3e-3)
    step = types.SimpleNamespace(
      mesh=types.SimpleNamespace(size=64, devices=FLAT.devices), loops=16, work=lambda layers: work
    )
    found = types.SimpleNamespace(layers=2, cycles=cycles, kernel_bytes=kernel_bytes, messages=())
    return times.times(step, found, CHIP).compute

  assert compute(16 * CHIP.hertz * 4e-3, 16 * CHIP.bandwidth * 1e-3) == pytest.approx(5e-3)
  # Of weights that a chip reads beside other work the compiler tells no cycles.
  assert compute(16 * CHIP.hertz * 1e-3, 16 * CHIP.bandwidth * 1e-3) == pytest.approx(3e-3)
