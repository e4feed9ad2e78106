"""A ledger that is killed again and again charges what an undisturbed run is charged, each token once."""

from __future__ import annotations

import collections
import json
import os
import pathlib
import random
import subprocess
import sys
import time

import pytest

from sweb_jax import budget, records
from sweb_jax.records import Sample

SCRIPT = pathlib.Path(__file__).with_name('spend_by_policy.py')
KILLS = 20


def start(workdir: pathlib.Path) -> subprocess.Popen:
  environment = os.environ | {'PYTHONPATH': str(SCRIPT.parents[2]), 'TF_CPP_MIN_LOG_LEVEL': '3'}
  command = [sys.executable, SCRIPT, workdir]
  return subprocess.Popen(command, env=environment, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)


def finish(process: subprocess.Popen) -> None:
  _, errors = process.communicate()
  assert process.returncode == 0, errors


def charged(workdir: pathlib.Path) -> dict[tuple[str, str, str], int]:
  """Tokens by job, model and kind."""
  tokens = collections.Counter()
  for e in budget.read(workdir):
    for kind, n in e.tokens.items():
      tokens[e.job, e.model, kind] += n
  return dict(tokens)


def stored(workdir: pathlib.Path) -> int:
  """Tokens of all samples in chunks."""
  return sum(len(s.tokens) for p in workdir.glob('**/chunk-*.jsonl') for s in records.read(Sample, p))


@pytest.mark.slow
def test_a_run_killed_at_20_random_moments_is_charged_what_an_undisturbed_one_is(tmp_path):
  finish(start(tmp_path / 'whole'))
  whole, folder = charged(tmp_path / 'whole'), tmp_path / 'killed'
  assert {job for job, _, _ in whole} == {
    'samples/set0/se', 'samples/set0/wc', 'policies/set0/until_solved_high/wc', 'policies/set0/wc_high/wc'
  }  # fmt: skip
  draw = random.Random(3)
  for _ in range(KILLS):
    process = start(folder)
    process.stdout.readline()
    goal = len(list(folder.glob('**/*.jsonl'))) + draw.choice([0, 1, 2, 4])
    while len(list(folder.glob('**/*.jsonl'))) < goal and process.poll() is None:
      time.sleep(0.005)
    time.sleep(draw.uniform(0.0, 0.05))
    process.kill()
    process.communicate()
    # At any moment: every stored token is charged, once, line or no line.
    drawn = sum(n for (_, _, kind), n in charged(folder).items() if kind == 'completion')
    assert drawn == stored(folder)
  finish(start(folder))
  assert charged(folder) == whole
  name = 'policies/set0/until_solved_high/charge.json'
  assert json.loads((folder / name).read_text()) == json.loads((tmp_path / 'whole' / name).read_text())
