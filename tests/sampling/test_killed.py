"""Sampling that is killed again and again ends with the samples of an undisturbed run, each once."""

from __future__ import annotations

import dataclasses
import pathlib
import random
import time

import pytest

from sweb_jax import layout, records
from sweb_jax.records import Sample

SCRIPT = pathlib.Path(__file__).with_name('draw_into_store.py')
KILLS, SAMPLES = 10, 720


def drawn(folder: pathlib.Path) -> list[Sample]:
  return list(records.read(Sample, *sorted(folder.glob(layout.CHUNKS))))


@pytest.mark.slow
def test_a_run_killed_at_random_moments_ends_with_the_samples_of_an_undisturbed_one(begun, tmp_path):
  with begun(SCRIPT, tmp_path / 'whole') as process:
    pass
  assert process.returncode == 0
  whole = {(s.problem_id, s.index): s for s in drawn(tmp_path / 'whole')}
  assert len(whole) == SAMPLES

  folder = tmp_path / 'killed'
  draw = random.Random(5)
  found: list[Sample] = []
  for _ in range(KILLS):
    with begun(SCRIPT, folder) as process:  # It has read what there is, and goes on.
      goal = len(list(folder.glob('*'))) + draw.choice([0, 0, 0, 1, 1])
      while len(list(folder.glob('*'))) < goal and process.poll() is None:
        time.sleep(0.01)
      time.sleep(draw.uniform(0.0, 0.1))
      process.kill()
    before, found = found, drawn(folder)
    assert found[: len(before)] == before  # Nothing finished is lost or changed.
  assert 0 < len(found) < SAMPLES
  with begun(SCRIPT, folder) as process:
    pass
  assert process.returncode == 0
  samples = drawn(folder)
  assert len(samples) == SAMPLES
  for s in samples:
    undisturbed = whole.pop((s.problem_id, s.index))
    assert dataclasses.replace(s, logprob=0) == dataclasses.replace(undisturbed, logprob=0)
    # Which of its block's places a prompt is in may change how a sum is rounded.
    assert s.logprob == pytest.approx(undisturbed.logprob, abs=1e-3)
  assert not whole
