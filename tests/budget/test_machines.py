"""Hours on TPU chips: hand-made numbers."""

from __future__ import annotations

import pytest

from sweb_jax.budget.machines import CHIPS, Chip, plan_seconds, step_seconds
from sweb_jax.models.gemma.config import ModelConfig
from sweb_jax.study.step import Work

CONFIG = ModelConfig(100, 10, 20, 2, 2, 1, 4)
CHIP = Chip(flops=1e6, bandwidth=1e4, memory=1e6)


def test_a_step_reads_a_share_of_the_weights_and_its_own_rows_caches():
  # 8 chips, 4 a copy: two copies of 6 rows each. A row caches 2 (k, v) x 2 layers x 1 head x 4 numbers a token.
  found = step_seconds(CONFIG, CHIP, 8, tensor=4, slots=12, context=50)
  assert found == pytest.approx((CONFIG.parameters + 6 * 2 * 2 * 4 * 50) * 2 / 4 / 1e4)


def test_many_rows_are_bound_by_arithmetic():
  found = step_seconds(CONFIG, CHIP, 1, tensor=1, slots=10_000, context=1)
  assert found == pytest.approx(2 * CONFIG.parameters * 10_000 / 1e6)


def test_training_goes_by_flops_and_drawing_by_steps():
  works = [
    Work('train', 'm', 1, 1, 8_000_000, 0.0),
    Work('sample', 'm', 1, 640, 1, 0.0),
    Work('sample', 'm', 1, 640, 1, 0.0),
  ]
  step = step_seconds(CONFIG, CHIP, 2, tensor=2, slots=8, context=10)
  found = plan_seconds(works, {'m': CONFIG}, CHIP, 2, tensor=2, slots=8, context=10, occupancy=0.5, bandwidth_share=0.5)
  assert found == {'train': pytest.approx(8e6 / (2 * 1e6 * 0.4)), 'sample': pytest.approx(2 * 640 / 4 * step / 0.5)}


def test_a_chips_memory_holds_what_google_says():
  assert {name: chip.memory / 1e9 for name, chip in CHIPS.items()} == {'v5e': 16, 'v6e': 32, 'v5p': 95}
