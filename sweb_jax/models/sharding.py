"""Where parameters and activations live, on one mesh: parameters by the rules for their names (`rules.axes`).

Mesh axes: `data` splits the batch, `fsdp` splits parameters (and the batch too while training), `tensor` splits heads,
hidden units and the vocabulary.
"""

from __future__ import annotations

import math
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jax.sharding import Mesh, NamedSharding, PartitionSpec, Sharding

from sweb_jax.models import decoder, rules

AXES = ('data', 'fsdp', 'tensor')


class MeshError(ValueError):
  """The mesh does not fit the devices or the batch."""


def make_mesh(data: int = 1, fsdp: int = 1, tensor: int = 1) -> Mesh:
  """A mesh over the first data * fsdp * tensor devices; `data=-1` takes all that are left.

  Raises MeshError where there are not enough devices.
  """
  # Neighbours in the mesh are neighbours on a host: what is split over `tensor` talks most.
  devices = sorted(jax.devices(), key=lambda d: (d.process_index, d.id))
  if data == -1:
    data = max(1, len(devices) // (fsdp * tensor))
  need = data * fsdp * tensor
  if need > len(devices):
    raise MeshError(
      f'config.mesh asks for data={data} x fsdp={fsdp} x tensor={tensor} = {need} devices; there are {len(devices)}'
    )
  return Mesh(np.asarray(devices[:need]).reshape(data, fsdp, tensor), AXES)


def for_params(params: Any, mesh: Mesh) -> Any:
  """The tree of NamedShardings for a tree of parameters (or their shapes).

  An axis that does not divide its dimension is dropped there: that dimension is replicated.
  """

  def one(path, leaf):
    axes = rules.axes('/'.join(str(getattr(k, 'key', k)) for k in path), leaf.shape)
    if len(axes) != leaf.ndim:
      axes = ()
    fitting = [a if a and size % mesh.shape[a] == 0 else None for a, size in zip(axes, leaf.shape, strict=False)]
    return NamedSharding(mesh, PartitionSpec(*fitting))

  return jax.tree_util.tree_map_with_path(one, params)


def place(tree: Any, mesh: Mesh) -> Any:
  """Parameters put on the mesh by the rules. The arrays are new: donating them leaves the source alone."""
  # Not `may_alias=False`: between meshes of different devices, device_put keeps the shards that stay where they are.
  return jax.tree.map(lambda x, where: jnp.copy(put(x, where)), tree, for_params(tree, mesh))


def put(x: jax.Array | np.ndarray, where: Sharding) -> jax.Array:
  """An array on its shards. Where they are of several processes, each has the whole array and gives its part."""
  if where.is_fully_addressable or (isinstance(x, jax.Array) and not x.is_fully_addressable):
    return jax.device_put(x, where)
  x = np.asarray(x)
  return jax.make_array_from_callback(x.shape, where, lambda index: x[index])


def processes_a_copy(mesh: Mesh, processes: int = 0) -> int:
  """How many neighbouring processes `tensor` spans: together they hold a whole copy of the parameters.

  `processes` is of how many the mesh is; 0: of those that its devices belong to. Raises MeshError where processes have
  unequal parts of the mesh, or are left over.
  """
  count = processes or len({d.process_index for d in mesh.devices.flat})
  each, tensor = mesh.size // count, mesh.shape['tensor']
  together = tensor // math.gcd(tensor, each)
  there = processes or (count if count == 1 else jax.process_count())
  if count != there or mesh.size != count * each or count % together:
    raise MeshError(
      f'config.mesh of {mesh.size} devices: each of the {there} processes must have as many of them, and '
      f'tensor={tensor} must divide those of one or of some neighbouring processes; config.mesh.data=-1 takes all'
    )
  return together


def part_to_draw(mesh: Mesh, processes: int, index: int) -> Mesh:
  """The part of `mesh` on which one of so many processes draws: its own devices, or all those that `tensor` spans.

  `tensor` stays as it is, `fsdp` is as much of it as lies in that part, `data` what is left. Raises MeshError as
  `processes_a_copy` does.
  """
  together = processes_a_copy(mesh, processes)
  size = mesh.size // processes * together
  part = mesh.devices.ravel()[index // together * size :][:size]
  ways = size // mesh.shape['tensor']
  fsdp = math.gcd(ways, mesh.shape['fsdp'])
  return Mesh(part.reshape(ways // fsdp, fsdp, mesh.shape['tensor']), AXES)


def sampling_mesh(mesh: Mesh) -> Mesh:
  """The part on which this process draws; with one process all of it. Raises MeshError as `processes_a_copy` does."""
  if not mesh.is_multi_process:
    return mesh
  processes_a_copy(mesh)
  return part_to_draw(mesh, jax.process_count(), jax.process_index())


def to_sample_with(params: Any, mesh: Mesh) -> Any:
  """Parameters of the mesh of all processes, on the `sampling_mesh`; a collective. With one process, as they are."""
  if not mesh.is_multi_process:
    return params
  local = sampling_mesh(mesh)
  shape = mesh.size // (local.shape['fsdp'] * local.shape['tensor']), local.shape['fsdp'], local.shape['tensor']
  whole = for_params(params, Mesh(mesh.devices.reshape(shape), AXES))
  gathered = jax.jit(lambda tree: tree, out_shardings=whole)(params)
  return jax.tree.map(
    lambda x, where: jax.make_array_from_single_device_arrays(x.shape, where, [s.data for s in x.addressable_shards]),
    gathered,
    for_params(params, local),
  )


def least(value: float, mesh: Mesh) -> float:
  """The least of what the processes of a mesh have, in float32; a collective. With one, the value itself."""
  if not mesh.is_multi_process:
    return value
  each = NamedSharding(mesh, PartitionSpec(AXES))
  values = jax.make_array_from_callback((mesh.size,), each, lambda _: np.full(1, value, np.float32))
  return float(jax.jit(jnp.min, out_shardings=replicated(mesh))(values))


def rows(mesh: Mesh) -> NamedSharding:
  """Rows of a batch, split over `data` and `fsdp`."""
  return NamedSharding(mesh, PartitionSpec(('data', 'fsdp')))


def ways(mesh: Mesh | None) -> int:
  """Into how many parts rows are split."""
  return 1 if mesh is None else mesh.shape['data'] * mesh.shape['fsdp']


def kv_axis(config: decoder.Decoder, mesh: Mesh) -> str | None:
  """The axis that splits the KV heads of a cache: `tensor`, where it divides those of all layers."""
  return None if any(a.kv_heads % mesh.shape['tensor'] for a in config.attention) else 'tensor'


def keep_rows(x: Any, mesh: Mesh | None) -> Any:
  """Activations that stay with their rows; without a mesh they are left as they are.

  Weights are split over `fsdp` as rows are. Where both meet in a product, XLA would else split the activations as the
  weights are and compute all rows on every device.
  """
  return x if mesh is None else jax.lax.with_sharding_constraint(x, rows(mesh))


def keep_logits(x: Any, mesh: Mesh | None, vocabulary: int = -1) -> Any:
  """The same for what has the vocabulary for a dimension too, which is split over `tensor`."""
  if mesh is None:
    return x
  axes = [('data', 'fsdp')] + [None] * (x.ndim - 1)
  if x.shape[vocabulary] % mesh.shape['tensor'] == 0:
    axes[vocabulary] = 'tensor'
  return jax.lax.with_sharding_constraint(x, NamedSharding(mesh, PartitionSpec(*axes)))


def replicated(mesh: Mesh) -> NamedSharding:
  return NamedSharding(mesh, PartitionSpec())


def check_rows(count: int, mesh: Mesh, field: str) -> None:
  """Raises MeshError unless `count` rows divide over the mesh."""
  if count % (parts := ways(mesh)):
    wish = f'make it a multiple of {parts}'
    raise MeshError(f'{field}={count} does not divide over data x fsdp = {parts} devices; {wish}')
