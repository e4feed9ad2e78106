"""Trainings side by side on meshes of 8 simulated devices; prints what was found as JSON. Run by a test."""

from __future__ import annotations

import contextlib
import dataclasses
import json
import pathlib
import tempfile

import jax

jax.config.update('jax_platforms', 'cpu')
jax.config.update('jax_num_cpu_devices', 8)

import test_side_by_side as one  # noqa: E402

from sweb_jax.models import sharding  # noqa: E402
from sweb_jax.training import Optimizer, Run, Schedule, fit  # noqa: E402
from sweb_jax.training.side_by_side import SideBySide, choose, groups  # noqa: E402
from sweb_jax.training.step import shapes, start  # noqa: E402

MESHES = {
  'fsdp=2': ({'fsdp': 2}, {}),
  'data=2': ({'data': 2}, {}),
  'data=2 fsdp=2': ({'data': 2, 'fsdp': 2}, {'data': 2}),
  'fsdp=4 tensor=2': ({'fsdp': 4, 'tensor': 2}, {'fsdp': 2, 'tensor': 2}),
}
"""Of two runs, and as each has a part of it."""
OPTIMIZER = Optimizer(weight_decay=0.01)


def runs(folder: pathlib.Path) -> list[Run]:
  # Small rates: Adam divides a gradient by its size, so where it is tiny the order of a sum is seen in a whole update.
  both = (one.packer(0, 16), 2e-3), (one.packer(1, 16), 6e-4)
  return [Run(packer, Schedule(rate, 4), (2, 4), one.score, folder / f'{rate}') for packer, rate in both]


def trained(of: list[Run], axes: dict[str, int], **how) -> list:
  mesh = sharding.make_mesh(**axes)
  try:
    found = fit(one.params(), one.CONFIG, of, mesh=mesh, optimizer=OPTIMIZER, save_seconds=1e9, **how)
  finally:
    # Programs on other devices may come next. A CPU would run both at once, and has too few threads for that.
    jax.block_until_ready(jax.live_arrays())
  return [f.params for f in found]


def moved(folder: pathlib.Path) -> float:
  """Of runs stopped on one mesh, gone on with on another."""

  class Stopped(Exception):
    pass

  def stop(_: int) -> None:
    raise Stopped

  with contextlib.suppress(Stopped):
    trained(runs(folder / 'moved'), {'data': 2, 'fsdp': 2, 'tensor': 2}, on_step=stop, save_on=Stopped)
  pairs = zip(trained(runs(folder / 'moved'), {'fsdp': 8}), trained(runs(folder / 'still'), {'fsdp': 8}), strict=True)
  return max(one.difference(a, b) for a, b in pairs)


def share(axes: dict[str, int]) -> float:
  """Of the feed-forward weights of two runs, what a device holds once they are joined."""
  mesh = sharding.make_mesh(**axes)
  states = [start(one.params(), OPTIMIZER, mesh) for _ in range(2)]
  both = 2 * sum(x.nbytes for x in jax.tree.leaves(states[0].params['layer_0']['mlp']))
  joined = jax.block_until_ready(SideBySide(2, mesh).join(states))
  return sharding.bytes_a_device(joined.params['layer_0']['mlp']) / both


def main() -> None:
  found = {}
  with tempfile.TemporaryDirectory() as name:
    folder = pathlib.Path(name)
    for mesh, (whole, part) in MESHES.items():
      both = trained(runs(folder / mesh / 'both'), whole)
      each = [trained([run], part)[0] for run in runs(folder / mesh / 'each')]
      found[mesh] = max(one.difference(a, b) for a, b in zip(both, each, strict=True))
    carried = moved(folder)
  mesh = sharding.make_mesh(fsdp=8)
  state = sharding.bytes_a_device(shapes(one.params(), OPTIMIZER, mesh))
  chosen = {
    name: choose(one.CONFIG, optimizer, mesh, memory=memory, batch=batch)
    for name, optimizer, memory, batch in (
      ('no memory known', OPTIMIZER, 0, 8),
      ('all fits', OPTIMIZER, 100 * state, 8),
      ('a large batch', OPTIMIZER, 100 * state, 64),
      ('little memory', OPTIMIZER, 10 * state, 8),
      ('less', OPTIMIZER, 8.1 * state, 8),
      ('less, and nothing kept', dataclasses.replace(OPTIMIZER, remat='full'), 8.1 * state, 8),
      ('adapters', one.OPTIMIZERS['lora'], 4 * state, 8),  # Weights below them are a third of a state.
    )
  }
  shares = {name: share(whole) for name, (whole, _) in MESHES.items()}
  cases = ([9] * 12, 4), ([9] * 7, 4), ([9] * 3, 3), ([9] * 6 + [2] * 6 + [9] * 3, 4)
  sizes = [[len(group) for group in groups(steps, most, sharding.ways(mesh))] for steps, most in cases]
  print(json.dumps({'difference': found, 'share': shares, 'moved': carried, 'chosen': chosen, 'groups': sizes}))


if __name__ == '__main__':
  main()
