"""Two trainings side by side in two processes, whose states are saved after each step. Run by a test."""

from __future__ import annotations

import json
import pathlib
import sys

import jax

coordinator, process, folder = sys.argv[1:]
jax.config.update('jax_platforms', 'cpu')
jax.config.update('jax_cpu_collectives_implementation', 'gloo')
jax.distributed.initialize(coordinator, 2, int(process))

import test_side_by_side as one  # noqa: E402

from sweb_jax.models import sharding  # noqa: E402
from sweb_jax.training import Optimizer, Run, Schedule, fit  # noqa: E402

STEPS = 7


class Stopped(Exception):
  pass


def main() -> None:
  places = [pathlib.Path(folder) / f'{i}' for i in range(2)]
  # Each step's state is scored, and so saved; the last is when the training is stopped.
  runs = [
    Run(one.packer(i, 16, steps=STEPS), Schedule(1e-2, STEPS), range(1, STEPS + 1), one.score, p)
    for i, p in enumerate(places)
  ]
  taken = []

  def on_step(_: int) -> None:
    taken.append(1)
    if len(taken) == STEPS - 1:
      raise Stopped

  how = dict(mesh=sharding.make_mesh(data=2), optimizer=Optimizer(), save_seconds=0)
  try:
    fit(one.params(), one.CONFIG, runs, on_step=on_step, save_on=Stopped, **how)
  except Stopped:
    print(json.dumps([sorted(f.name for f in (p / 'state').iterdir()) for p in places]))


if __name__ == '__main__':
  main()
