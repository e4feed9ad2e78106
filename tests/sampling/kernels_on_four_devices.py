"""Draws the same requests without the TPU's kernels, and with them, interpreted, on 4 simulated devices; prints both
as JSON. Run by a test."""

from __future__ import annotations

import collections
import json

import jax

jax.config.update('jax_platforms', 'cpu')
jax.config.update('jax_num_cpu_devices', 4)

import numpy as np  # noqa: E402

from sweb_jax.models import sharding  # noqa: E402
from sweb_jax.models.gemma import norms, transformer  # noqa: E402
from sweb_jax.models.gemma.config import ModelConfig  # noqa: E402
from sweb_jax.sampling import Engine, Request, Rule, append, ragged, tiles  # noqa: E402

# Heads of whole tiles, and a window that leaves the first block behind.
CONFIG = ModelConfig(96, 32, 64, 2, 4, 2, 128, pattern=('local', 'global'), window=20, attn_softcap=1.5)


def draw(params, kernels: bool = True, **axes: int) -> list:
  mesh = sharding.make_mesh(**axes)
  # Sets of four slots that share prompts, of eight slots on two of the devices; two sets begin a second prompt.
  requests = [
    Request(f'p{i}', j, tuple(range(3 + i, 38 + 2 * i)), (50 if i < 2 else 20) * (j + 2))
    for i in range(6)
    for j in range(4)
  ]
  engine = Engine(
    CONFIG, mesh, Rule(1.0, forbidden=(0, 1, 2)), stop_ids=(1,), prompt_length=48, max_new_tokens=256,
    prefix=(2, *range(9, 39)),
    slots=16, steps=16, kernels=kernels,
  )  # fmt: skip
  drawn = engine.run(sharding.place(params, mesh), requests, key=jax.random.key(5))
  return sorted((c.problem_id, c.index, c.tokens) for c in drawn)


def main() -> None:
  rng = np.random.default_rng(1)
  shapes = transformer.shapes(CONFIG)
  params = jax.tree.map(lambda x: rng.standard_normal(x.shape, np.float32) * x.shape[-1] ** -0.5, shapes)
  found = {'without': draw(params)}
  calls = collections.Counter()

  def interpret(module, name):
    kernel = getattr(module, name)

    def counted(*args, **how):
      calls[name] += 1
      return kernel(*args, **how, interpret=True)

    setattr(module, name, counted)

  for module, name in ((ragged, 'attend'), (append, 'append_by_tile'), (norms, 'add_by_kernel')):
    interpret(module, name)
  tiles.on_tpu = lambda mesh: True
  jax.clear_caches()
  found['with'] = draw(params, data=2, tensor=2)
  found['calls'] = dict(calls)
  found['turned off'] = draw(params, kernels=False, data=2, tensor=2)
  print(json.dumps(found | {'calls after that': dict(calls)}))


if __name__ == '__main__':
  main()
