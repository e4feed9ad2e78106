"""Where a model comes from: one that ships with the package, a GGUF package, or a model folder on disk."""

from __future__ import annotations

import dataclasses
import hashlib
import json
from collections.abc import Callable
from typing import Any

import jax.numpy as jnp
from etils import epath
from jax.sharding import Mesh

from sweb_jax.models import checkpoint, huggingface, sharding, transformer
from sweb_jax.models.checkpoint import CheckpointError
from sweb_jax.models.config import ModelConfig
from sweb_jax.models.tokenizer import Tokenizer
from sweb_jax.runtime import files

_EMBEDDED = epath.Path(__file__).parent / 'embedded'


@dataclasses.dataclass(frozen=True)
class Model:
  """A model that can be sampled and trained."""

  config: ModelConfig
  tokenizer: Tokenizer
  load: Callable[[Mesh], transformer.Params]
  """Reads the parameters, in float32, onto a mesh."""
  identity: str
  """Names the files: others under the same path, as after another pre-training, have another."""


def open_model(source: str) -> Model:
  """Opens 'embedded:NAME', 'gguf:gemma3_270m' or the path of a model folder, ours or Hugging Face's.

  The parameters are read on `load`.

  Raises:
    CheckpointError: there is no such model, or its files do not fit together.
  """
  kind, _, name = source.partition(':')
  if kind == 'embedded':
    if not (_EMBEDDED / name).exists():
      raise CheckpointError(f'{source!r}: models that ship with the package are wc, se and student')
    return _open_folder(_EMBEDDED / name)
  if kind == 'gguf':
    return _open_gguf(name)
  return _open_folder(epath.Path(source))


def save_model(
  folder: epath.PathLike, config: ModelConfig, params: transformer.Params, tokenizer: Tokenizer, dtype: Any = None
) -> None:
  """Writes a model folder: `tokenizer.model`, `params/` (Orbax) and, last, `config.json`."""
  folder = epath.Path(folder)
  folder.mkdir(parents=True, exist_ok=True)
  tokenizer.save(folder / 'tokenizer.model')
  checkpoint.save(folder / 'params', params, dtype)
  files.write_json(folder / 'config.json', dataclasses.asdict(config))


def read_config(folder: epath.PathLike) -> ModelConfig:
  """The architecture of a model folder, ours or Hugging Face's. Raises CheckpointError."""
  folder = epath.Path(folder)
  if _is_huggingface(folder):
    return huggingface.read_config(folder)
  try:
    fields = json.loads((folder / 'config.json').read_text())
    return ModelConfig(**{k: tuple(v) if isinstance(v, list) else v for k, v in fields.items()})
  except (OSError, ValueError, TypeError, AttributeError) as e:
    raise CheckpointError(f'{folder}/config.json: not the config of a model folder: {e}') from e


def read_params(
  folder: epath.PathLike, config: ModelConfig, mesh: Mesh, dtype: Any = jnp.float32
) -> transformer.Params:
  """The parameters of a model folder, ours or Hugging Face's, on a mesh. Raises CheckpointError."""
  folder = epath.Path(folder)
  if _is_huggingface(folder):
    return huggingface.load(folder, config, mesh, dtype)
  return checkpoint.load(folder / 'params', config, mesh, dtype)


def _is_huggingface(folder: epath.Path) -> bool:
  return any(folder.glob('*.safetensors'))


def _open_folder(folder: epath.Path) -> Model:
  config = read_config(folder)
  tokenizer = Tokenizer.from_file(folder / 'tokenizer.model')
  if tokenizer.vocab_size > config.vocab_size:
    raise CheckpointError(
      f'{folder}: its tokenizer has {tokenizer.vocab_size} pieces, the model {config.vocab_size} rows; '
      'the tokenizer is of another model'
    )
  # Orbax gives its data files new names at every save, so names and sizes tell checkpoints apart without reading them.
  files = [f for form in ('*.safetensors', 'params/d/*', 'params/*/d/*') for f in folder.glob(form)]
  listing = sorted((f.name, f.stat().length) for f in files)
  identity = hashlib.sha256(repr((tokenizer.fingerprint, listing)).encode()).hexdigest()[:16]
  return Model(config, tokenizer, lambda mesh: read_params(folder, config, mesh), identity)


def _open_gguf(name: str) -> Model:
  if name != 'gemma3_270m':
    raise CheckpointError(f"'gguf:{name}': the only GGUF model known by name is gemma3_270m")
  from sweb_jax.models import gguf_reader

  path = gguf_reader.find_gemma3_270m()
  config, model_proto = gguf_reader.read_header(path)
  tokenizer = Tokenizer.from_bytes(model_proto)
  identity = f'{path.name} {path.stat().st_size} {tokenizer.fingerprint}'
  return Model(config, tokenizer, lambda mesh: sharding.place(gguf_reader.read(path)[1], mesh), identity)
