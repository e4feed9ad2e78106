"""Draws the same requests without the TPU's kernels, and with them, interpreted, on 4 simulated devices; prints both
as JSON. Run by a test."""

from __future__ import annotations

import functools
import json

import jax

jax.config.update('jax_platforms', 'cpu')
jax.config.update('jax_num_cpu_devices', 4)

import numpy as np  # noqa: E402

from sweb_jax.models import sharding  # noqa: E402
from sweb_jax.models.gemma import transformer  # noqa: E402
from sweb_jax.models.gemma.config import ModelConfig  # noqa: E402
from sweb_jax.sampling import Engine, Request, Rule, append, ragged, tiles  # noqa: E402

# Heads of whole tiles, and a window that leaves the first block behind.
CONFIG = ModelConfig(96, 32, 64, 2, 4, 2, 128, pattern=('local', 'global'), window=20, attn_softcap=1.5)


def draw(params, kernels: bool = True, **axes: int) -> list:
  mesh = sharding.make_mesh(**axes)
  requests = [Request(f'p{i}', j, tuple(range(3 + i, 8 + 2 * i)), 60 * (i + j + 1)) for i in range(2) for j in range(2)]
  engine = Engine(
    CONFIG, mesh, Rule(1.0, forbidden=(0, 1, 2)), stop_ids=(1,), prompt_length=16, max_new_tokens=256, prefix=(2, 9, 8),
    slots=4, steps=16, kernels=kernels,
  )  # fmt: skip
  drawn = engine.run(sharding.place(params, mesh), requests, key=jax.random.key(5))
  return sorted((c.problem_id, c.index, c.tokens) for c in drawn)


def main() -> None:
  rng = np.random.default_rng(1)
  shapes = transformer.shapes(CONFIG)
  params = jax.tree.map(lambda x: rng.standard_normal(x.shape, np.float32) * x.shape[-1] ** -0.5, shapes)
  found = {'without': draw(params)}
  attend, calls = ragged.attend, []

  def counted(*args):
    calls.append(args)
    return attend(*args, interpret=True)

  ragged.attend, append.append_by_tile = counted, functools.partial(append.append_by_tile, interpret=True)
  tiles.on_tpu = lambda mesh: True
  jax.clear_caches()
  found['with'] = draw(params, data=2, tensor=2)
  found['calls'] = len(calls)
  found['turned off'] = draw(params, kernels=False, data=2, tensor=2)
  print(json.dumps(found | {'calls when turned off': len(calls) - found['calls']}))


if __name__ == '__main__':
  main()
