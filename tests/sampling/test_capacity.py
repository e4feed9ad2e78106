"""How many slots a run gets."""

from __future__ import annotations

import pytest

from sweb_jax.models import sharding
from sweb_jax.models.gemma.config import SIZES
from sweb_jax.sampling import SamplingError
from sweb_jax.sampling.capacity import choose_slots

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
