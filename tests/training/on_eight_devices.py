"""Two training steps on several meshes of 8 simulated devices; prints what they measured as JSON. Run by a test."""

from __future__ import annotations

import json

import jax

jax.config.update('jax_platforms', 'cpu')
jax.config.update('jax_num_cpu_devices', 8)
jax.config.update('jax_disable_most_optimizations', True)  # Compiling is most of the time.

import jax.numpy as jnp  # noqa: E402
import numpy as np  # noqa: E402

from sweb_jax.models import sharding, transformer  # noqa: E402
from sweb_jax.models.config import ModelConfig  # noqa: E402
from sweb_jax.training import Optimizer, Packer  # noqa: E402
from sweb_jax.training.step import start, train_step  # noqa: E402

CONFIG = ModelConfig(
  64, 32, 64, 2, 4, 2, 16, pattern=('local', 'global'), window=6, attn_softcap=5.0, final_softcap=8.0
)
MESHES = {
  'one': {},
  'data=2': {'data': 2},
  'fsdp=2': {'fsdp': 2},
  'tensor=2': {'tensor': 2},
  'data=2 fsdp=2 tensor=2': {'data': 2, 'fsdp': 2, 'tensor': 2},
}
OPTIMIZER = Optimizer(b1=0.5, clip_norm=1e9)  # After a step from zero the first moment is half the gradient.


def measure(params, packer: Packer, axes: dict[str, int]) -> tuple[dict, dict[str, np.ndarray]]:
  mesh = sharding.make_mesh(**axes)
  state = start(params, OPTIMIZER, mesh)
  loss, norm, moment = [], [], None
  for step in range(2):
    state, metrics = train_step(
      state, packer.batch(step), jnp.float32(1e-2), config=CONFIG, optimizer=OPTIMIZER, mesh=mesh
    )
    loss.append(float(metrics.loss))
    norm.append(float(metrics.grad_norm))
    moment = moment or jax.device_get(state.opt_state[1].mu)
  named = jax.tree_util.tree_leaves_with_path((state, sharding.for_params(state, mesh)))
  leaves, places = named[: len(named) // 2], named[len(named) // 2 :]
  misplaced = [
    jax.tree_util.keystr(path)
    for (path, x), (_, place) in zip(leaves, places, strict=True)
    if not x.sharding.is_equivalent_to(place, x.ndim)
  ]
  split = any(x.addressable_shards[0].data.size < x.size for _, x in leaves)
  gradients = {jax.tree_util.keystr(path): 2 * np.asarray(m) for path, m in jax.tree_util.tree_leaves_with_path(moment)}
  return {'loss': loss, 'grad_norm': norm, 'misplaced': misplaced, 'split': split}, gradients


def main() -> None:
  rng = np.random.default_rng(1)
  shapes = transformer.shapes(CONFIG)
  params = jax.tree.map(lambda x: rng.standard_normal(x.shape, np.float32) * x.shape[-1] ** -0.5, shapes)
  rng = np.random.default_rng(0)
  rendered = [((2, *rng.integers(4, 64, n).tolist(), 1), n // 2) for n in rng.integers(4, 14, 16)]
  packer = Packer(rendered, batch=16, steps=2, seed=0, row_length=24, multiple_of=8)
  found, gradients = {}, {}
  for name, axes in MESHES.items():
    found[name], gradients[name] = measure(params, packer, axes)
    found[name]['gradient_difference'] = {
      k: float(np.abs(g - gradients['one'][k]).max() / np.abs(gradients['one'][k]).max())
      for k, g in gradients[name].items()
    }
  print(json.dumps(found))


if __name__ == '__main__':
  main()
