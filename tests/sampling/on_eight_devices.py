"""Draws the same requests on several meshes of 8 simulated devices; prints the texts as JSON. Run by a test."""

from __future__ import annotations

import json

import jax

jax.config.update('jax_platforms', 'cpu')
jax.config.update('jax_num_cpu_devices', 8)

import numpy as np  # noqa: E402

from sweb_jax.models import sharding  # noqa: E402
from sweb_jax.models.gemma import transformer  # noqa: E402
from sweb_jax.models.gemma.config import ModelConfig  # noqa: E402
from sweb_jax.sampling import Engine, Request, Rule  # noqa: E402

CONFIG = ModelConfig(
  1024, 32, 64, 2, 4, 2, 16, pattern=('local', 'global'), window=6, attn_softcap=1.5, final_softcap=8.0
)
TENSOR = {'data': 4, 'tensor': 2}
DRAWN, GREEDY = Rule(1.0, forbidden=(0, 2)), Rule(0.0, forbidden=(0, 2))  # The latter looks for the largest in groups.
RUNS = ((DRAWN, {}), (DRAWN, {'data': 2}), (DRAWN, {'fsdp': 2}), (DRAWN, TENSOR), (GREEDY, {}), (GREEDY, TENSOR))


def main() -> None:
  rng = np.random.default_rng(1)
  shapes = transformer.shapes(CONFIG)
  params = jax.tree.map(lambda x: rng.standard_normal(x.shape, np.float32) * x.shape[-1] ** -0.5, shapes)
  requests = [Request(f'p{i}', j, tuple(range(3 + i, 8 + 2 * i))) for i in range(6) for j in range(2)]
  texts = []
  for rule, axes in RUNS:
    mesh = sharding.make_mesh(**axes)
    engine = Engine(
      CONFIG, mesh, rule, stop_ids=(1,), prompt_length=16, max_new_tokens=12, prefix=(2, 9, 8), slots=8, steps=5
    )
    drawn = engine.run(sharding.place(params, mesh), requests, key=jax.random.key(5))
    texts.append(sorted((c.problem_id, c.index, c.tokens) for c in drawn))
  print(json.dumps({'devices': len(jax.devices()), 'texts': texts}))


if __name__ == '__main__':
  main()
