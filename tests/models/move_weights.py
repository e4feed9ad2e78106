"""One of two processes with four simulated devices each: weights move from the mesh of training to those of drawing.

Run by a test. Prints the meshes on which every shard was found to be the part of the whole that it should be.
"""

from __future__ import annotations

import sys

import jax

jax.config.update('jax_platforms', 'cpu')
jax.config.update('jax_num_cpu_devices', 4)
jax.config.update('jax_cpu_collectives_implementation', 'gloo')

import numpy as np  # noqa: E402
from jax.sharding import Mesh  # noqa: E402

from sweb_jax.models import sharding  # noqa: E402
from sweb_jax.models.gemma import transformer  # noqa: E402
from sweb_jax.models.gemma.config import ModelConfig  # noqa: E402


def main(process: int, address: str) -> None:
  jax.distributed.initialize(address, 2, process)
  shapes = transformer.shapes(ModelConfig(64, 32, 64, 2, 4, 2, 16))
  rng = np.random.default_rng(0)
  whole = jax.tree.map(lambda x: rng.random(x.shape, np.float32), shapes)
  mesh = sharding.make_mesh(fsdp=4, tensor=2)
  params = jax.tree.map(sharding.put, whole, sharding.for_params(whole, mesh))
  cases = {
    'a slice': sharding.meshes_to_draw(mesh, tensor=2),
    'hosts': sharding.meshes_to_draw(mesh),
    # On a TPU the wiring may order a mesh to draw on otherwise than one to train on.
    'another order': (Mesh(mesh.devices.ravel()[::-1].reshape(4, 1, 2), sharding.AXES),),
  }
  for name, meshes in cases.items():
    moved, local = sharding.to_draw_with(params, mesh, meshes), sharding.own(meshes)
    for x, where, full in zip(*map(jax.tree.leaves, (moved, sharding.for_params(whole, local), whole)), strict=True):
      assert x.sharding == where
      for shard in x.addressable_shards:
        np.testing.assert_array_equal(np.asarray(shard.data), full[shard.index])
    print(f'{name}: {len(meshes)} x {local.devices.shape}')


if __name__ == '__main__':
  main(int(sys.argv[1]), sys.argv[2])
