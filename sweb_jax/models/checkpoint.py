"""Parameters on disk: Orbax folders with the gemma library's tree."""

from __future__ import annotations

import threading
from typing import Any

import jax
import jax.numpy as jnp
import orbax.checkpoint as ocp
from etils import epath
from jax.sharding import Mesh

from sweb_jax.models import sharding, transformer
from sweb_jax.models.config import ModelConfig
from sweb_jax.runtime import files

SAVING = threading.Lock()
"""To be held during every Orbax save: it tells the parts of a save apart by a counter of the process, so that two saves
in two threads may wait for each other's parts until they time out."""


class CheckpointError(ValueError):
  """A checkpoint that is missing, torn, or of another architecture; the message names it."""


def save(path: epath.PathLike, params: transformer.Params, dtype: Any = None) -> None:
  """Writes parameters as an Orbax folder, as the gemma library does. Whole or not there: Orbax renames at the end."""
  path = epath.Path(path).resolve()
  if dtype is not None:
    params = jax.tree.map(lambda x: x.astype(dtype), params)
  with SAVING, files.full_disk_named(path), ocp.StandardCheckpointer() as checkpointer:
    checkpointer.save(path, params, force=True)


def load(path: epath.PathLike, config: ModelConfig, mesh: Mesh, dtype: Any = jnp.float32) -> transformer.Params:
  """Reads parameters straight to their shardings; no host holds more than its shards.

  Raises:
    CheckpointError: no checkpoint there, or one of another architecture.
  """
  path = epath.Path(path).resolve()
  if not path.exists():
    raise CheckpointError(f'{path}: there is no checkpoint')
  shapes = transformer.shapes(config, dtype)
  target = jax.tree.map(
    lambda s, where: jax.ShapeDtypeStruct(s.shape, s.dtype, sharding=where), shapes, sharding.for_params(shapes, mesh)
  )
  with ocp.StandardCheckpointer() as checkpointer:
    try:
      stored = checkpointer.metadata(path).item_metadata.tree
    except (ValueError, OSError, KeyError, AttributeError) as e:
      raise CheckpointError(f'{path}: not an Orbax checkpoint, or a torn one: {e}') from e
    _check(path, stored, shapes)
    return checkpointer.restore(path, target)


def _check(path: epath.Path, stored: Any, wanted: Any) -> None:
  """Names the first parameter in which a checkpoint differs from its architecture."""

  def flat(tree):
    named = jax.tree.leaves_with_path(tree)
    return {jax.tree_util.keystr(k, simple=True, separator='/'): tuple(v.shape) for k, v in named}

  found, needed = flat(stored), flat(wanted)
  for name in sorted(needed.keys() | found.keys()):
    if found.get(name) != needed.get(name):
      raise CheckpointError(
        f'{path}: parameter {name} has shape {found.get(name)}, the architecture needs {needed.get(name)}'
      )
