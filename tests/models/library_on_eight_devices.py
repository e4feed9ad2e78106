"""Trains and draws with the gemma library on meshes of 8 simulated devices; prints it as JSON. Run by a test.

The native implementation on one device is what each is compared with.
"""

from __future__ import annotations

import json

import jax

jax.config.update('jax_platforms', 'cpu')
jax.config.update('jax_num_cpu_devices', 8)

import jax.numpy as jnp  # noqa: E402
import numpy as np  # noqa: E402

from sweb_jax.models import families, sharding  # noqa: E402
from sweb_jax.models.gemma.config import ModelConfig  # noqa: E402
from sweb_jax.sampling import Engine, Request, Rule  # noqa: E402
from sweb_jax.training import Optimizer, Packer  # noqa: E402
from sweb_jax.training.step import start, train_step  # noqa: E402

# Caps that bite, windows shorter than the rows, grouped heads; then norms of queries and keys, and one KV head.
GEMMA2 = ModelConfig(
  64, 32, 64, 2, 4, 2, 16, pattern=('local', 'global'), window=6, attn_softcap=1.5, final_softcap=4.0
)
GEMMA3 = ModelConfig(
  64, 32, 64, 2, 4, 1, 16, pattern=('local', 'global'), window=6, qk_norm=True, rope_base=1e6, rope_scale=8.0
)
ALL_AXES = {'data=2 fsdp=2 tensor=2': {'data': 2, 'fsdp': 2, 'tensor': 2}}
MESHES = ALL_AXES | {
  'data=8': {'data': 8},
  'fsdp=4 tensor=2': {'fsdp': 4, 'tensor': 2},
  'data=2 tensor=4': {'data': 2, 'tensor': 4},  # Its 2 KV heads are whole on every device.
}
CASES = {'gemma2': (GEMMA2, MESHES), 'gemma3': (GEMMA3, ALL_AXES)}
OPTIMIZER = Optimizer(b1=0.5, clip_norm=1e9)  # After a step from zero the first moment is half the gradient.
RULES = {'greedy': Rule(0.0, forbidden=(0, 2)), 'drawn': Rule(1.0, forbidden=(0, 2))}


def train(config, params, packer: Packer, axes: dict[str, int]) -> tuple[list[float], dict[str, np.ndarray]]:
  mesh = sharding.make_mesh(**axes)
  state, losses, moment = start(params, OPTIMIZER, mesh), [], None
  for step in range(2):
    state, metrics = train_step(
      state, packer.batch(step), jnp.float32(1e-2), config=config, optimizer=OPTIMIZER, mesh=mesh
    )
    losses.append(float(metrics.loss))
    moment = moment or jax.device_get(state.opt_state[1].mu)
  return losses, {jax.tree_util.keystr(k): 2 * np.asarray(m) for k, m in jax.tree_util.tree_leaves_with_path(moment)}


def draw(config, params, axes: dict[str, int]) -> dict[str, list]:
  requests = [
    Request(f'p{i}', j, tuple(range(3 + i, 8 + 2 * i)), limit=4 + (3 * i + j) % 9) for i in range(7) for j in range(3)
  ]
  mesh, texts = sharding.make_mesh(**axes), {}
  for name, rule in RULES.items():
    engine = Engine(
      config, mesh, rule, stop_ids=(1,), prompt_length=16, max_new_tokens=12, prefix=(2, 9, 8), slots=8, steps=4
    )
    drawn = engine.run(sharding.place(params, mesh), requests, key=jax.random.key(5))
    texts[name] = sorted((c.problem_id, c.index, c.tokens) for c in drawn)
  return texts


def both(config: ModelConfig, meshes: dict[str, dict[str, int]]) -> dict[str, dict]:
  rng = np.random.default_rng(1)
  params = jax.tree.map(lambda x: rng.standard_normal(x.shape, np.float32) * x.shape[-1] ** -0.5, config.shapes())
  rng = np.random.default_rng(0)
  rendered = [((2, *rng.integers(4, 64, n).tolist(), 1), n // 2) for n in rng.integers(4, 14, 16).tolist()]
  packer = Packer(rendered, batch=16, steps=2, seed=0, row_length=24, multiple_of=8)
  library = families.implement(config, 'gemma')
  losses, gradients = train(config, params, packer, {})
  found = {'native': {'losses': losses, 'texts': draw(config, params, {})}}
  for name, axes in meshes.items():
    losses, theirs = train(library, params, packer, axes)
    apart = {k: float(np.abs(theirs[k] - g).max() / np.abs(g).max()) for k, g in gradients.items()}
    found[name] = {'losses': losses, 'gradient_difference': apart, 'texts': draw(library, params, axes)}
  return found


def main() -> None:
  print(json.dumps({name: both(*case) for name, case in CASES.items()}))


if __name__ == '__main__':
  main()
