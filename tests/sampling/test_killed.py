"""Sampling that is killed again and again ends with the samples of an undisturbed run, each once."""

from __future__ import annotations

import dataclasses
import os
import pathlib
import random
import subprocess
import sys
import time

import pytest

from sweb_jax.records import Sample
from sweb_jax.sampling import Store

SCRIPT = pathlib.Path(__file__).with_name('draw_into_store.py')
KILLS, SAMPLES = 20, 720


def start(folder: pathlib.Path) -> subprocess.Popen:
  root = str(SCRIPT.parents[2])
  environment = os.environ | {'PYTHONPATH': root, 'TF_CPP_MIN_LOG_LEVEL': '3'}
  command = [sys.executable, SCRIPT, folder]
  return subprocess.Popen(command, env=environment, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)


def finish(process: subprocess.Popen) -> None:
  _, errors = process.communicate()
  assert process.returncode == 0, errors


@pytest.mark.slow
def test_a_run_killed_at_20_random_moments_ends_with_the_samples_of_an_undisturbed_one(tmp_path):
  finish(start(tmp_path / 'whole'))
  whole = {(s.problem_id, s.index): s for s in Store(tmp_path / 'whole').read()}
  assert len(whole) == SAMPLES

  folder = tmp_path / 'killed'
  draw = random.Random(5)
  found: list[Sample] = []
  for _ in range(KILLS):
    process = start(folder)
    process.stdout.readline()  # It has read what there is, and goes on.
    goal = len(list(folder.glob('*'))) + draw.choice([0, 0, 0, 1, 1])
    while len(list(folder.glob('*'))) < goal and process.poll() is None:
      time.sleep(0.01)
    time.sleep(draw.uniform(0.0, 0.1))
    process.kill()
    process.communicate()
    before, found = found, list(Store(folder).read())
    assert found[: len(before)] == before  # Nothing finished is lost or changed.
  assert 0 < len(found) < SAMPLES
  finish(start(folder))
  samples = list(Store(folder).read())
  assert len(samples) == SAMPLES
  for s in samples:
    undisturbed = whole.pop((s.problem_id, s.index))
    assert dataclasses.replace(s, logprob=0) == dataclasses.replace(undisturbed, logprob=0)
    # Which of its block's places a prompt is in may change how a sum is rounded.
    assert s.logprob == pytest.approx(undisturbed.logprob, abs=1e-3)
  assert not whole
