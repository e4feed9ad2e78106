"""Where parameters and activations live, on one mesh: parameters by the rules for their names (`rules.axes`).

Mesh axes: `data` splits the batch, `fsdp` splits parameters (and the batch too while training), `tensor` splits heads,
hidden units and the vocabulary. A mesh of trainings side by side has one more, `run`, of which each part has a training
to itself.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jax.experimental import mesh_utils
from jax.sharding import Mesh, NamedSharding, PartitionSpec, Sharding
from jaxtyping import Array, Float

from sweb_jax.models import rules

AXES = ('data', 'fsdp', 'tensor')
RUN = 'run'

_WHOLE = ('TPU v5 lite', 'TPU v5e', 'TPU v6 lite', 'TPU v6e')


class MeshError(ValueError):
  """The mesh does not fit the devices or the batch."""


def make_mesh(data: int = 1, fsdp: int = 1, tensor: int = 1, *, devices: Sequence[Any] = ()) -> Mesh:
  """A mesh over the first data * fsdp * tensor devices; `data=-1` takes all that are left.

  Args:
    data: copies of the parameters.
    fsdp: parts of them, of which each has other rows of a batch.
    tensor: parts of them that have the same rows.
    devices: to take; (): those of this run.

  Raises MeshError where there are not enough devices, or slices do not divide.
  """
  devices = sorted(devices or jax.devices(), key=_place)
  if data == -1:
    data = max(1, len(devices) // (fsdp * tensor))
  need = data * fsdp * tensor
  if need > len(devices):
    raise MeshError(
      f'config.mesh asks for data={data} x fsdp={fsdp} x tensor={tensor} = {need} devices; there are {len(devices)}'
    )
  if 1 < need < len(devices) and takes_whole_slices(devices):
    raise MeshError(
      f'config.mesh of {need} devices: there are {len(devices)} of {devices[0].device_kind}, which runs no program on '
      'a part of a slice; config.mesh.data=-1 takes all'
    )
  return _mesh(devices[:need], data, fsdp, tensor)


def takes_whole_slices(devices: Sequence[Any]) -> bool:
  """Whether the TPU's compiler refuses programs for a part of a slice of such devices, as for v5e and v6e."""
  return devices[0].device_kind in _WHOLE


def _place(device: Any) -> tuple[int, int, int]:
  return slice_of(device), device.process_index, device.id


def slice_of(device: Any) -> int:
  """Which slice of TPUs it is in; 0 where there are none."""
  return getattr(device, 'slice_index', 0) if device.platform == 'tpu' else 0


def _mesh(devices: Sequence[Any], *shape: int) -> Mesh:
  """A mesh whose neighbours are wired to each other: the last axis talks most."""
  slices = len({slice_of(d) for d in devices})
  if slices == 1:
    return Mesh(mesh_utils.create_device_mesh(shape, devices, allow_split_physical_axes=True), AXES)
  # Between slices there is a network only. What fsdp splits moves once a step; what tensor splits, many times a layer.
  axis = next((i for i in (0, 1) if shape[i] % slices == 0), None)
  if axis is None:
    raise MeshError(
      f'config.mesh of data={shape[0]} x fsdp={shape[1]} x tensor={shape[2]}: data or fsdp must be a multiple of the '
      f'{slices} slices'
    )
  between = [slices if i == axis else 1 for i in range(3)]
  within = [n // k for n, k in zip(shape, between, strict=True)]
  return Mesh(mesh_utils.create_hybrid_device_mesh(within, between, devices, allow_split_physical_axes=True), AXES)


def side_by_side(mesh: Mesh, runs: int) -> Mesh:
  """The devices of a mesh with an axis `RUN` before the others, which is taken out of `fsdp` first, then of `data`.

  Over several slices it is the other way round: trainings on different ones have nothing to tell each other over the
  network. Where both do not divide by the runs, parts have several runs each.
  """
  data, fsdp, tensor = mesh.devices.shape
  if slice_size(mesh) < mesh.size:
    of_data = math.gcd(runs, data)
    of_fsdp = math.gcd(runs // of_data, fsdp)
  else:
    of_fsdp = math.gcd(runs, fsdp)
    of_data = math.gcd(runs // of_fsdp, data)
  devices = mesh.devices.reshape(of_data, data // of_data, of_fsdp, fsdp // of_fsdp, tensor).transpose(0, 2, 1, 3, 4)
  return Mesh(devices.reshape(of_data * of_fsdp, data // of_data, fsdp // of_fsdp, tensor), (RUN, *AXES))


def for_params(params: Any, mesh: Mesh, spread: bool = False) -> Any:
  """The tree of NamedShardings for a tree of parameters (or their shapes).

  An axis that does not divide its dimension is dropped there: that dimension is replicated. On a mesh of trainings side
  by side the parameters are one training's, whole in each part; or, with `spread`, in parts over all devices.
  """

  def fitting(axis, size):
    if spread and axis == 'fsdp' and size % (mesh.shape[RUN] * mesh.shape[axis]) == 0:
      return RUN, axis
    return axis if axis and size % mesh.shape[axis] == 0 else None

  def one(path, leaf):
    axes = rules.axes('/'.join(str(getattr(k, 'key', k)) for k in path), leaf.shape)
    if len(axes) != leaf.ndim:
      axes = ()
    return NamedSharding(mesh, PartitionSpec(*map(fitting, axes, leaf.shape)))

  return jax.tree_util.tree_map_with_path(one, params)


def bytes_a_device(tree: Any) -> int:
  """Of one device's part of arrays, or shapes, that know their sharding."""
  return sum(math.prod(x.sharding.shard_shape(x.shape)) * x.dtype.itemsize for x in jax.tree.leaves(tree))


def of_runs(shardings: Any) -> Any:
  """Those of arrays of several runs, which come first, from those of one run's."""
  return jax.tree.map(lambda s: NamedSharding(s.mesh, PartitionSpec(RUN, *s.spec)), shardings)


def place(tree: Any, mesh: Mesh) -> Any:
  """Parameters put on the mesh by the rules. The arrays are new: donating them leaves the source alone."""
  # Not `may_alias=False`: between meshes of different devices, device_put keeps the shards that stay where they are.
  return jax.tree.map(lambda x, where: jnp.copy(put(x, where)), tree, for_params(tree, mesh))


def put(x: jax.Array | np.ndarray, where: Sharding) -> jax.Array:
  """An array on its shards. Where they are of several processes, each has the whole array and gives its part.

  What lies on devices has been moved when this returns: moves that do not wait for each other would take the memory of
  all of them, and simulated devices, which have a thread each, stand still where some do one and some another.
  """
  if where.is_fully_addressable or (isinstance(x, jax.Array) and not x.is_fully_addressable):
    moved = jax.device_put(x, where)
    return moved.block_until_ready() if isinstance(x, jax.Array) else moved
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


def meshes_to_draw(mesh: Mesh, processes: int = 0, tensor: int = 0) -> tuple[Mesh, ...]:
  """The meshes on which the parts of a training mesh draw, each for itself.

  Args:
    mesh: of training.
    processes: which have it between them; 0: those that its devices belong to.
    tensor: a part is a whole slice, with the weights split over so many of its devices, and copies over `data`. 0: it
      is the devices of a process, or of those that the mesh's own `tensor` spans; `fsdp` is as much as lies in them.

  Raises:
    MeshError: processes or slices have unequal parts of the mesh, or are left over, or `tensor` does not divide.
  """
  devices = sorted(mesh.devices.flat, key=_place)
  count = processes or len({d.process_index for d in devices})
  together = processes_a_copy(mesh, processes)
  size = mesh.size // count * together
  fsdp = 1
  if tensor:
    size = slice_size(mesh)
    if size % tensor:
      raise MeshError(f'drawing: weights are split over {tensor} devices, which do not divide the {size} of a slice')
  else:
    tensor = mesh.shape['tensor']
    fsdp = math.gcd(size // tensor, mesh.shape['fsdp'])
  return tuple(
    _mesh(devices[i : i + size], size // tensor // fsdp, fsdp, tensor) for i in range(0, mesh.size, size)
  )


def slice_size(mesh: Mesh) -> int:
  """Devices of the mesh in each slice."""
  return mesh.size // len({slice_of(d) for d in mesh.devices.flat})


def own(meshes: Sequence[Mesh]) -> Mesh:
  """That of `meshes_to_draw` on which this process draws."""
  return next(m for m in meshes if m.local_devices)


def to_draw_with(params: Any, mesh: Mesh, meshes: Sequence[Mesh]) -> Any:
  """Parameters of a training mesh on that of `meshes_to_draw` which is this process's; a collective.

  They move from shards to shards: no host has them whole. Where both meshes are the same they stay as they are.
  """
  local = own(meshes)
  if local == mesh:
    return params
  every = Mesh(np.concatenate([m.devices for m in meshes]), AXES)
  moved = jax.tree.map(put, params, for_params(params, every))
  return jax.tree.map(
    lambda x, where: jax.make_array_from_single_device_arrays(x.shape, where, [s.data for s in x.addressable_shards]),
    moved,
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


def kv_axis(mesh: Mesh, *kv_heads: int) -> str | None:
  """The axis that splits the KV heads of the cache of a layer, or of all layers alike: `tensor`, where it divides."""
  return None if any(heads % mesh.shape['tensor'] for heads in kv_heads) else 'tensor'


def keep_rows(x: Any, mesh: Mesh | None) -> Any:
  """Activations that stay with their rows; without a mesh they are left as they are.

  Weights are split over `fsdp` as rows are. Where both meet in a product, XLA would else split the activations as the
  weights are and compute all rows on every device.
  """
  return x if mesh is None else jax.lax.with_sharding_constraint(x, rows(mesh))


def spread(x: Float[Array, 'B L D'], mesh: Mesh | None, axis: int) -> Float[Array, 'B L D']:
  """The same, where `tensor` splits them too: the rows further (`axis` 0) or each row's tokens (1), if it divides them.

  Between two products each device then has a part to norm and to add, and none does what others do (sequence
  parallelism, arXiv 2205.05198): a sum over `tensor` becomes a sum by parts and a gather, as many bytes. Tokens of a
  row that is a device's only one stay: there the TPU's compiler makes the whole sum, and gathers besides.
  """
  return x if mesh is None else jax.lax.with_sharding_constraint(x, spreading(x.shape, mesh, axis))


def spreading(shape: tuple[int, int, int], mesh: Mesh, axis: int) -> NamedSharding:
  """How `spread` splits what has this shape."""
  if shape[axis] % (mesh.shape['tensor'] if axis else mesh.size) or (axis and shape[0] <= ways(mesh)):
    return rows(mesh)
  return NamedSharding(mesh, PartitionSpec(('data', 'fsdp'), 'tensor') if axis else PartitionSpec(AXES))


def keep_logits(x: Any, mesh: Mesh | None, vocabulary: int = -1) -> Any:
  """The same for what has the vocabulary for a dimension too, which is split over `tensor`."""
  if mesh is None:
    return x
  axes = [('data', 'fsdp')] + [None] * (x.ndim - 1)
  if x.shape[vocabulary] % mesh.shape['tensor'] == 0:
    axes[vocabulary] = 'tensor'
  return jax.lax.with_sharding_constraint(x, NamedSharding(mesh, PartitionSpec(*axes)))


def keep_table(x: Float[Array, 'V D'], mesh: Mesh | None, whole: bool) -> Float[Array, 'V D']:
  """An output table, or its gradient, on its shards; `whole`: with the whole width on each device.

  A loop that multiplies with it gathers it once before it begins, and not at every turn.
  """
  if mesh is None:
    return x
  axes = 'tensor', None if whole else 'fsdp'
  fitting = (a if a and n % mesh.shape[a] == 0 else None for a, n in zip(axes, x.shape, strict=True))
  return jax.lax.with_sharding_constraint(x, NamedSharding(mesh, PartitionSpec(*fitting)))


def replicated(mesh: Mesh) -> NamedSharding:
  return NamedSharding(mesh, PartitionSpec())


def check_rows(count: int, mesh: Mesh, field: str) -> None:
  """Raises MeshError unless `count` rows divide over the mesh."""
  if count % (parts := ways(mesh)):
    wish = f'make it a multiple of {parts}'
    raise MeshError(f'{field}={count} does not divide over data x fsdp = {parts} devices; {wish}')
