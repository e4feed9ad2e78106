"""Parameters on disk: Orbax folders with the gemma library's tree, nested as it saves it or flat as on Kaggle."""

from __future__ import annotations

import math
import threading
from collections.abc import Mapping
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import orbax.checkpoint as ocp
from etils import epath
from jax.sharding import Mesh, Sharding

from sweb_jax.models import orbax_files, reading, rules, sharding
from sweb_jax.models.decoder import Decoder, Params
from sweb_jax.models.reading import CheckpointError
from sweb_jax.runtime import files

SAVING = threading.Lock()
"""To be held during every Orbax save: it tells the parts of a save apart by a counter of the process, so that two saves
in two threads may wait for each other's parts until they time out."""


_CONCURRENT_GB = 1
"""How much Orbax may hold on the host at once, in GB, or the largest array where that is more."""


def save(path: epath.PathLike, params: Params, dtype: Any = None) -> None:
  """Writes parameters as an Orbax folder, as the gemma library does. Whole or not there: Orbax renames at the end."""
  path = files.absolute(path)
  if dtype is not None:
    params = jax.tree.map(lambda x: x.astype(dtype), params)
  with SAVING, files.full_disk_named(path), _checkpointer(_at_once(params)) as checkpointer:
    checkpointer.save(path, args=ocp.args.StandardSave(params), force=True)


def load(path: epath.PathLike, config: Decoder, mesh: Mesh, dtype: Any = jnp.float32) -> Params:
  """Reads parameters straight to their shardings; no host holds more than its shards.

  Args:
    path: the Orbax folder.
    config: the architecture.
    mesh: where the parameters go.
    dtype: they are cast to; None: as they are stored.

  Raises:
    CheckpointError: no checkpoint there, or one of another architecture.
  """
  path = files.absolute(path)
  tree = _metadata(path)
  shapes = config.shapes()
  names = _names(tree)
  found = {name: leaf for leaf, name in zip(jax.tree.leaves(tree), names, strict=True) if name}
  check(path, {name: tuple(leaf.shape) for name, leaf in found.items()}, config)
  where = {path_name(k): s for k, s in jax.tree.leaves_with_path(sharding.for_params(shapes, mesh))}
  target = [
    jax.ShapeDtypeStruct(leaf.shape, dtype or leaf.dtype, sharding=where[name]) if name else ocp.PLACEHOLDER
    for leaf, name in zip(jax.tree.leaves(tree), names, strict=True)
  ]
  target = jax.tree.unflatten(jax.tree.structure(tree), target)
  arguments = ocp.args.PyTreeRestore(target, ocp.checkpoint_utils.construct_restore_args(target))
  # Not the standard handler, which takes no placeholders.
  with ocp.Checkpointer(ocp.PyTreeCheckpointHandler(restore_concurrent_gb=_at_once(tree))) as checkpointer:
    try:
      restored = checkpointer.restore(path, args=arguments)
    except Exception as e:  # Whatever Orbax makes of a damaged file.
      raise CheckpointError(f'{path}: a torn Orbax checkpoint: {reading.brief(e)}') from e
  leaves = dict(zip(names, jax.tree.leaves(restored), strict=True))
  return jax.tree.map_with_path(lambda k, _: leaves[path_name(k)], shapes)


def stored(path: epath.PathLike) -> dict[str, jax.ShapeDtypeStruct]:
  """Shape and dtype of the parameters of an Orbax folder, by name. Raises CheckpointError."""
  tree = _metadata(files.absolute(path))
  named = zip(_names(tree), jax.tree.leaves(tree), strict=True)
  return {name: jax.ShapeDtypeStruct(leaf.shape, leaf.dtype) for name, leaf in named if name}


def check(path: epath.PathLike, found: Mapping[str, tuple[int, ...]], config: Decoder) -> None:
  """Raises CheckpointError that names the first parameter in which a checkpoint differs from its architecture."""
  wanted = needed(config)
  for name in sorted(wanted.keys() | found.keys()):
    if found.get(name) != wanted.get(name):
      raise CheckpointError(
        f'{path}: parameter {name} has shape {found.get(name)}, the architecture needs {wanted.get(name)}'
      )


def needed(config: Decoder) -> dict[str, tuple[int, ...]]:
  """The shape of every parameter of an architecture, by name."""
  return {path_name(k): s.shape for k, s in jax.tree.leaves_with_path(config.shapes())}


def place(value: np.ndarray, where: Sharding, dtype: Any) -> jax.Array:
  """A parameter on its shards, cast (None: not); waits, so that the host's copy can go before the next one comes."""
  return sharding.put(value if dtype is None else value.astype(dtype), where).block_until_ready()


def path_name(path: tuple) -> str:
  """A path of `jax.tree` as 'layer_0/mlp/linear'."""
  return jax.tree_util.keystr(path, simple=True, separator='/')


def _checkpointer(concurrent_gb: float = _CONCURRENT_GB) -> ocp.Checkpointer:
  return ocp.Checkpointer(ocp.StandardCheckpointHandler(save_concurrent_gb=concurrent_gb))


def _at_once(tree: Any) -> float:
  """GB that Orbax may hold at once; of an array that is larger than it may hold it says so and gives up."""
  largest = max((math.prod(x.shape) * np.dtype(x.dtype).itemsize for x in jax.tree.leaves(tree)), default=0)
  return max(_CONCURRENT_GB, math.ceil(largest / 1e3) / 1e6)


def _metadata(path: epath.Path) -> Any:
  """The stored tree, with shapes and dtypes for leaves."""
  if not path.exists():
    raise CheckpointError(f'{path}: there is no checkpoint')
  orbax_files.check(path)
  with _checkpointer() as checkpointer:
    try:
      found = checkpointer.metadata(path).item_metadata
      tree = found and found.tree
    except Exception as e:  # Whatever Orbax makes of a damaged file.
      raise CheckpointError(f'{path}: not an Orbax checkpoint, or a torn one: {reading.brief(e)}') from e
  if found is None:
    raise CheckpointError(f'{path}: not an Orbax checkpoint, or a torn one: its _METADATA cannot be read')
  if not tree:
    raise CheckpointError(f'{path}: an Orbax checkpoint without parameters')
  seen = set()
  for leaf, name in zip(jax.tree.leaves(tree), _names(tree), strict=True):
    if name and name in seen:
      raise CheckpointError(f'{path}: parameter {name!r:.200} is there twice')
    seen.add(name)
    dtype = getattr(leaf, 'dtype', None)
    if name and (dtype is None or not jnp.issubdtype(dtype, jnp.floating)):
      raise CheckpointError(f'{path}: parameter {name!r:.200} is of type {dtype}; floating-point ones can be read')
  return tree


def _names(tree: Any) -> list[str]:
  """The name of each leaf of a stored tree in ours; '' for what does not read text."""
  leaves = jax.tree.leaves_with_path(tree)
  return [rules.stored_name(path_name(path), tuple(getattr(leaf, 'shape', ()))) for path, leaf in leaves]
