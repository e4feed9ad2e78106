"""Chips and slices by Google's names and numbers."""

from __future__ import annotations

import math

import pytest

from sweb_jax.budget import machines
from sweb_jax.budget.machines import CHIPS


def test_a_slice_has_as_many_chips_as_its_shape():
  for chip in CHIPS.values():
    for chips, shape in chip.topologies.items():
      assert math.prod(map(int, shape.split('x'))) == chips


def test_a_chips_memory_holds_what_google_says():
  assert {name: chip.memory / 1e9 for name, chip in CHIPS.items()} == {'v5e': 16, 'v6e': 32, 'v5p': 95}


def test_v5p_counts_tensor_cores_and_the_others_chips():
  assert machines.parse_slice('v5p-64') == ('v5p', 32)
  assert machines.parse_slice('v5e-64') == ('v5e', 64)


@pytest.mark.parametrize('name', ['v5e-63', 'v5p-4', 'v9-8', 'v5e', '', 'v5e-64 '])
def test_a_slice_that_does_not_exist_is_answered_with_those_that_do(name):
  with pytest.raises(machines.SliceError, match=r'slices are v5e-4, .*v5p-128.*v6e-256'):
    machines.parse_slice(name)
