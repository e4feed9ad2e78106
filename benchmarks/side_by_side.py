"""Trains an embedded model several times side by side in one program and one after the other; writes what a step takes.

    python benchmarks/side_by_side.py --out=FILE.json [--model=embedded:se] [--runs=1,2,4] [--rounds=5] [--steps=10]

Batches are as large as the quickstart's: 32 examples of at most 40 tokens. The ways take turns in one process; the file
has for each number of runs the median milliseconds a step of one run, by the clock and by the processors, and the
ratio to trainings one after the other, which is what `--runs=1` is.
"""

from __future__ import annotations

import json
import statistics
import time
from pathlib import Path

import jax
import numpy as np
from absl import app, flags

from sweb_jax.models import sharding
from sweb_jax.models.source import open_model
from sweb_jax.training import Optimizer, Packer, SideBySide
from sweb_jax.training.step import start

OUT = flags.DEFINE_string('out', None, 'File to write.', required=True)
MODEL = flags.DEFINE_string('model', 'embedded:se', 'What is trained.')
RUNS = flags.DEFINE_list('runs', ['1', '2', '4'], 'Trainings side by side.')
ROUNDS = flags.DEFINE_integer('rounds', 5, 'Turns of each.', lower_bound=1)
STEPS = flags.DEFINE_integer('steps', 10, 'A turn.', lower_bound=1)
BATCH, ROW_LENGTH, EXAMPLES = 32, 40, 400


class Trainings:
  """So many of them, going on."""

  def __init__(self, runs: int):
    model = open_model(MODEL.value)
    mesh = sharding.make_mesh()
    rng = np.random.default_rng(0)
    rows = [(rng.integers(4, model.config.vocab_size, n).tolist(), n // 2) for n in rng.integers(16, 41, EXAMPLES)]
    self._packer = Packer(rows, batch=BATCH, steps=1000, seed=0, row_length=ROW_LENGTH)
    self._how = dict(config=model.config, optimizer=Optimizer())
    self._together = SideBySide(runs, mesh)
    params = model.load(mesh)
    self._state = self._together.join([start(params, self._how['optimizer'], mesh) for _ in range(runs)])
    self._step = 0

  def turn(self, steps: int) -> tuple[float, float]:
    """Milliseconds a step of one run: by the clock, by the processors."""
    clock, cpu = time.perf_counter(), time.process_time()
    for _ in range(steps):
      batch = self._packer.batch(self._step % 1000)
      runs = self._together.runs
      self._state, _ = self._together.step(self._state, [batch] * runs, [1e-4] * runs, None, **self._how)
      self._step += 1
    jax.block_until_ready(self._state)
    each = 1e3 / (steps * self._together.runs)
    return (time.perf_counter() - clock) * each, (time.process_time() - cpu) * each


def main(_) -> None:
  ways = {int(n): Trainings(int(n)) for n in RUNS.value}
  for trainings in ways.values():
    trainings.turn(2)  # Compiles.
  took = {n: [] for n in ways}
  for _ in range(ROUNDS.value):
    for n, trainings in ways.items():
      took[n].append(trainings.turn(STEPS.value))
  medians = {n: [statistics.median(x) for x in zip(*turns, strict=True)] for n, turns in took.items()}
  first = next(iter(medians.values()))
  found = {
    n: {name: round(x, 3) for name, x in zip(('ms', 'cpu_ms', 'ratio', 'cpu_ratio'), (*both, *ratios), strict=True)}
    for n, both, ratios in ((n, m, [a / b for a, b in zip(m, first, strict=True)]) for n, m in medians.items())
  }
  Path(OUT.value).write_text(json.dumps(found, indent=2) + '\n')
  print(json.dumps(found))


if __name__ == '__main__':
  app.run(main)
