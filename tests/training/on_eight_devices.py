"""Two training steps on several meshes of 8 simulated devices; prints what they measured as JSON. Run by a test."""

from __future__ import annotations

import contextlib
import json
import tempfile

import jax

jax.config.update('jax_platforms', 'cpu')
jax.config.update('jax_num_cpu_devices', 8)

import jax.numpy as jnp  # noqa: E402
import numpy as np  # noqa: E402

from sweb_jax.models import sharding  # noqa: E402
from sweb_jax.models.gemma import transformer  # noqa: E402
from sweb_jax.models.gemma.config import ModelConfig  # noqa: E402
from sweb_jax.training import Lora, Optimizer, Packer, Run, Schedule, fit  # noqa: E402
from sweb_jax.training.step import start, train_step  # noqa: E402

CONFIG = ModelConfig(
  64, 32, 64, 2, 4, 2, 16, pattern=('local', 'global'), window=6, attn_softcap=5.0, final_softcap=8.0
)
MESHES = {
  'one': {},
  'data=2': {'data': 2},
  'fsdp=2': {'fsdp': 2},
  'tensor=2': {'tensor': 2},
  'data=4': {'data': 4},
  'fsdp=8': {'fsdp': 8},
  'tensor=4': {'tensor': 4},
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


class Stopped(Exception):
  pass


def moved(params, packer: Packer, folder: str, optimizer: Optimizer) -> float:
  """A run stopped on one device after 2 of 4 steps and gone on with on eight, against one on one device.

  Returns:
    The largest difference of a parameter, relative to the largest value of its array.
  """

  def run(name: str, stop: int = 5, **axes: int):
    steps = iter(range(1, 5))

    def on_step(_):
      if next(steps) == stop:
        raise Stopped

    one = Run(packer, Schedule(1e-2, 4), [4], lambda _: (0.0, 0, 0.0), f'{folder}/{name}')
    (found,) = fit(
      params, CONFIG, [one], mesh=sharding.make_mesh(**axes), optimizer=optimizer, save_seconds=1e9, on_step=on_step,
      save_on=Stopped,
    )  # fmt: skip
    return found

  with contextlib.suppress(Stopped):
    run('moved', stop=2)
  found, wanted = run('moved', data=2, fsdp=2, tensor=2), run('still')
  return max(
    float(np.abs(np.asarray(a) - np.asarray(b)).max() / (np.abs(np.asarray(b)).max() + 1e-30))
    for a, b in zip(jax.tree.leaves(found.params), jax.tree.leaves(wanted.params), strict=True)
  )


def main() -> None:
  rng = np.random.default_rng(1)
  shapes = transformer.shapes(CONFIG)
  params = jax.tree.map(lambda x: rng.standard_normal(x.shape, np.float32) * x.shape[-1] ** -0.5, shapes)
  rng = np.random.default_rng(0)
  rendered = [((2, *rng.integers(4, 64, n).tolist(), 1), n // 2) for n in rng.integers(4, 14, 16).tolist()]
  packer = Packer(rendered, batch=16, steps=4, seed=0, row_length=24, multiple_of=16)
  found, gradients = {}, {}
  for name, axes in MESHES.items():
    found[name], gradients[name] = measure(params, packer, axes)
    found[name]['gradient_difference'] = {
      k: float(np.abs(g - gradients['one'][k]).max() / np.abs(gradients['one'][k]).max())
      for k, g in gradients[name].items()
    }
  with tempfile.TemporaryDirectory() as folder:
    found['moved'] = {
      name: moved(params, packer, f'{folder}/{name}', optimizer)
      for name, optimizer in (
        ('adamw', Optimizer(micro_batches=2)),
        ('lora', Optimizer(lora=Lora(2, 4.0, 'attn|mlp'), micro_batches=2)),
      )
    }
  print(json.dumps(found))


if __name__ == '__main__':
  main()
