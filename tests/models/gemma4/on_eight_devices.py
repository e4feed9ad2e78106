"""Trains and draws with small Gemma 3n and 4 on a mesh of 8 simulated devices; prints it as JSON. Run by a test."""

from __future__ import annotations

import json
import pathlib
import runpy
import sys

import jax

jax.config.update('jax_platforms', 'cpu')
jax.config.update('jax_num_cpu_devices', 8)

import dataclasses  # noqa: E402

import jax.numpy as jnp  # noqa: E402
import numpy as np  # noqa: E402

from sweb_jax.models import sharding  # noqa: E402
from sweb_jax.sampling import Engine, Request, Rule  # noqa: E402
from sweb_jax.training import Optimizer, Packer  # noqa: E402
from sweb_jax.training.step import start, train_step  # noqa: E402

SMALL = runpy.run_path(str(pathlib.Path(__file__).with_name('small.py')))['SMALL']
MESHES = {'one': {}, 'eight': {'data': 2, 'fsdp': 2, 'tensor': 2}}
OPTIMIZER = Optimizer(b1=0.5, clip_norm=1e9)  # After a step from zero the first moment is half the gradient.


def even(config):
  """Sizes that 4 and 2 divide."""
  own = {'experts': 8} if getattr(config, 'experts', 0) else {}
  return dataclasses.replace(config, vocab_size=96, **own)


def train(config, params, packer: Packer, mesh) -> tuple[list[float], dict[str, np.ndarray], dict[str, int]]:
  state, losses, moment = start(params, OPTIMIZER, mesh), [], None
  whole = sum(x.size for x in jax.tree.leaves(state.params))
  split = sum(x.size for x in jax.tree.leaves(state.params) if not x.sharding.is_fully_replicated)
  for step in range(2):
    state, metrics = train_step(
      state, packer.batch(step), jnp.float32(1e-2), config=config, optimizer=OPTIMIZER, mesh=mesh
    )
    losses.append(float(metrics.loss))
    moment = moment or jax.device_get(state.opt_state[1].mu)
  gradients = {jax.tree_util.keystr(k): 2 * np.asarray(m) for k, m in jax.tree_util.tree_leaves_with_path(moment)}
  return losses, gradients, {'parameters': whole, 'split': split}


def scale(gradient: np.ndarray, gradients: dict[str, np.ndarray]) -> float:
  """What a difference is relative to: as in test_decoder.py, but for a parameter of one number, a tenth of the largest.

  The gradient of a layer's `skip_scale` is one sum over every token and width. Its terms cancel to under a hundredth
  of the largest gradient, while 1e-7 of what they add up to, the rounding of float32, is 5e-5 of that hundredth.
  """
  largest = max(np.abs(g).max() for g in gradients.values())
  return max(np.abs(gradient).max(), (1e-1 if gradient.size == 1 else 1e-2) * largest)


def draw(config, params, mesh) -> list:
  requests = [
    Request(f'p{i}', j, tuple(range(3 + i, 8 + 2 * i)), limit=4 + (3 * i + j) % 9) for i in range(5) for j in range(2)
  ]
  engine = Engine(
    config, mesh, Rule(0.0, forbidden=(0, 2)), stop_ids=(1,), prompt_length=16, max_new_tokens=12, prefix=(2, 9, 8),
    slots=8, steps=4,
  )  # fmt: skip
  drawn = engine.run(sharding.place(params, mesh), requests, key=jax.random.key(5))
  return sorted((c.problem_id, c.index, c.tokens) for c in drawn)


def main() -> None:
  rng = np.random.default_rng(0)
  rendered = [((2, *rng.integers(4, 96, n).tolist(), 1), n // 2) for n in rng.integers(4, 14, 16).tolist()]
  packer = Packer(rendered, batch=16, steps=2, seed=0, row_length=24, multiple_of=8)
  found = {}
  for kind, config in SMALL.items():
    config = even(config)
    params = jax.device_get(config.init(jax.random.key(1)))
    found[kind], wanted = {}, None
    print(kind, file=sys.stderr, flush=True)
    for name, axes in MESHES.items():
      mesh = sharding.make_mesh(**axes)
      losses, gradients, sizes = train(config, params, packer, mesh)
      wanted = wanted or gradients
      apart = {k: float(np.abs(gradients[k] - g).max() / scale(g, wanted)) for k, g in wanted.items()}
      found[kind][name] = {'losses': losses, 'gradient_difference': apart, 'texts': draw(config, params, mesh)} | sizes
  print(json.dumps(found))


if __name__ == '__main__':
  main()
