"""Parameters on disk: Orbax folders with the gemma library's tree, and the models that ship with the package."""

from __future__ import annotations

import dataclasses
import json
from typing import Any

import jax
import jax.numpy as jnp
import orbax.checkpoint as ocp
from etils import epath
from jax.sharding import Mesh

from sweb_jax.models import sharding, transformer
from sweb_jax.models.config import ModelConfig
from sweb_jax.models.tokenizer import Tokenizer
from sweb_jax.runtime import files


class CheckpointError(ValueError):
  """A checkpoint that is missing, torn, or of another architecture; the message names it."""


def save(path: epath.PathLike, params: transformer.Params, dtype: Any = None) -> None:
  """Writes parameters as an Orbax folder, as the gemma library does. Whole or not there: Orbax renames at the end."""
  path = epath.Path(path).absolute()
  if dtype is not None:
    params = jax.tree.map(lambda x: x.astype(dtype), params)
  with ocp.StandardCheckpointer() as checkpointer:
    checkpointer.save(path, params, force=True)


def load(path: epath.PathLike, config: ModelConfig, mesh: Mesh, dtype: Any = jnp.float32) -> transformer.Params:
  """Reads parameters straight to their shardings; no host holds more than its shards.

  Raises:
    CheckpointError: no checkpoint there, or one of another architecture.
  """
  path = epath.Path(path).absolute()
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
    return {jax.tree_util.keystr(k, simple=True, separator='/'): tuple(v.shape) for k, v in jax.tree.leaves_with_path(tree)}

  found, needed = flat(stored), flat(wanted)
  for name in sorted(needed.keys() | found.keys()):
    if found.get(name) != needed.get(name):
      raise CheckpointError(
        f'{path}: parameter {name} has shape {found.get(name)}, the architecture needs {needed.get(name)}'
      )


# Models made by this project ------------------------------------------------------------------------------------------


@dataclasses.dataclass(frozen=True)
class Model:
  """A model that can be sampled and trained: its shape, where its parameters are, and its tokenizer."""

  config: ModelConfig
  params_path: epath.Path
  tokenizer: Tokenizer


def save_model(folder: epath.PathLike, config: ModelConfig, params: transformer.Params, tokenizer: Tokenizer, dtype: Any = None) -> None:
  """A model folder: `config.json`, `params/` (Orbax), `tokenizer.model`; the config last, so it says that all is there."""
  folder = epath.Path(folder)
  folder.mkdir(parents=True, exist_ok=True)
  tokenizer.save(folder / 'tokenizer.model')
  save(folder / 'params', params, dtype)
  files.write_json(folder / 'config.json', dataclasses.asdict(config))


def open_model(folder: epath.PathLike) -> Model:
  """Reads all of a model folder but its parameters. Raises CheckpointError where something is missing or wrong."""
  folder = epath.Path(folder)
  try:
    fields = json.loads((folder / 'config.json').read_text())
    config = ModelConfig(**{k: tuple(v) if isinstance(v, list) else v for k, v in fields.items()})
  except (OSError, ValueError, TypeError) as e:
    raise CheckpointError(f'{folder}/config.json: not the config of a model: {e}') from e
  tokenizer = Tokenizer.from_file(folder / 'tokenizer.model')
  if tokenizer.vocab_size > config.vocab_size:
    raise CheckpointError(
      f'{folder}: the tokenizer has {tokenizer.vocab_size} pieces, the model {config.vocab_size}; is it of another model?'
    )
  return Model(config, folder / 'params', tokenizer)
