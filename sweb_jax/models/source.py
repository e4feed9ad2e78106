"""Where a model comes from: one that ships with the package, a GGUF package, a model folder, or a shape alone."""

from __future__ import annotations

import collections
import dataclasses
import hashlib
import math
from collections.abc import Callable, Iterable
from typing import Any

import jax
import jax.numpy as jnp
from etils import epath
from jax.sharding import Mesh

from sweb_jax import layout
from sweb_jax.models import checkpoint, families, huggingface, reading, sharding
from sweb_jax.models.decoder import Decoder, Params
from sweb_jax.models.reading import CheckpointError
from sweb_jax.models.tokenizer import Tokenizer
from sweb_jax.runtime import files, hub

_PICKLES = ('.bin', '.pt', '.pth', '.ckpt', '.pkl')
_SPARE_ROWS = 1023
"""Rows an embedding may have beyond the tokenizer's pieces: tables are padded to a round number."""
_NO_FOLDER = 'no such folder; give a folder, a *.gguf file, or hf:OWNER/NAME for a model of the hub'
_EMBEDDED = epath.Path(__file__).parent / 'embedded'


@dataclasses.dataclass(frozen=True)
class Model:
  """A model that can be sampled and trained."""

  config: Decoder
  tokenizer: Tokenizer | None
  """None: a shape without weights."""
  load: Callable[..., Params]
  """(mesh, dtype=float32): reads the parameters onto a mesh, one after the other; dtype None: as they are stored."""
  stored: Callable[[], dict[str, int]]
  """Number of values of each stored type. Reads headers only; raises CheckpointError where they do not fit `config`."""
  identity: str
  """Names the files: others under the same path, as after another pre-training, have another."""
  kind: str
  """Form of the files, for people."""


def open_model(source: str) -> Model:
  """Opens 'embedded:NAME', 'gguf:gemma3_270m', a *.gguf file, a folder of parameters, 'hf:OWNER/NAME', or 'size:NAME'.

  Folders: ours (`config.json`, `params/`), Hugging Face's, an Orbax folder of a named size as the gemma library
  writes it and Kaggle hands it out, with `tokenizer.model` in it or beside it, or a learner's on an arm in a workdir,
  whose `selection.json` names the checkpoint. The parameters are read on `load`.
  A size is a shape to plan and to lower with, without weights and tokenizer.

  Raises:
    CheckpointError: there is no such model, or its files do not fit together.
  """
  try:
    return _open(source)
  except CheckpointError:
    raise
  except Exception as e:
    if not files.on_object_store(source):
      raise
    # Each library for object stores has errors of its own.
    raise CheckpointError(f'{source!r}: cannot be read: {reading.brief(e)}') from e


def check_model(source: str) -> tuple[Model, dict[str, int]]:
  """Opens a model and finds what is wrong with its files before any compute.

  Reads configs, the tokenizer and the headers of the files that hold the parameters, no parameter (but for a stored
  output layer, see `huggingface.entries`): every tensor is there and of the right shape and type, and every file is as
  long as its header says. Damage inside a tensor is found by no header. A tenth of a second for 27B.

  Args:
    source: as `open_model` takes it.

  Returns:
    The model; the number of values of each stored type.

  Raises:
    CheckpointError: there is no such model, its files do not fit together, or it is a shape without weights.
  """
  model = open_model(source)
  return model, model.stored()


def save_model(
  folder: epath.PathLike, config: Decoder, params: Params, tokenizer: Tokenizer, dtype: Any = None
) -> None:
  """Writes a model folder: `tokenizer.model`, `params/` (Orbax) and, last, `config.json`."""
  folder = epath.Path(folder)
  folder.mkdir(parents=True, exist_ok=True)
  leads = jax.process_index() == 0  # All processes write their shards of the parameters.
  if leads:
    tokenizer.save(folder / 'tokenizer.model')
  checkpoint.save(folder / 'params', params, dtype)
  if leads:
    files.write_json(folder / 'config.json', dataclasses.asdict(config))


def read_config(folder: epath.PathLike) -> Decoder:
  """The architecture of a model folder, ours or Hugging Face's. Raises CheckpointError."""
  folder = epath.Path(folder)
  if _is_huggingface(folder):
    return families.huggingface().read(folder)
  path = folder / 'config.json'
  data = reading.read_file(path, reading.SMALL)
  fields = reading.json_object(data, path)
  if 'model_type' in fields:
    raise CheckpointError(f"{folder}: its config.json is Hugging Face's, but there is no *.safetensors file beside it")
  return reading.from_json(families.of_fields(fields), data, path)


def read_params(folder: epath.PathLike, config: Decoder, mesh: Mesh, dtype: Any = jnp.float32) -> Params:
  """The parameters of a model folder, ours or Hugging Face's, on a mesh (None: as stored). Raises CheckpointError."""
  folder = epath.Path(folder)
  if _is_huggingface(folder):
    return huggingface.load(folder, config, mesh, dtype)
  return checkpoint.load(folder / 'params', config, mesh, dtype)


def _open(source: str) -> Model:
  if hub.is_named(source):
    try:
      folder, found = hub.fetch(source, 'model', hub.MODEL_FILES)
    except hub.HubError as e:
      raise CheckpointError(str(e)) from e
    return dataclasses.replace(_open(str(folder)), identity=found)
  kind, _, name = source.partition(':')
  if kind == 'embedded':
    if name not in {folder.name for folder in _EMBEDDED.iterdir()}:
      raise CheckpointError(f'{source!r}: models that ship with the package are wc, se and student')
    return _open_folder(_EMBEDDED / name)
  if kind == 'gguf':
    if name != 'gemma3_270m':
      raise CheckpointError(f'{source!r}: the only GGUF model known by name is gemma3_270m; of others give the file')
    return _open_gguf(families.gguf().find_gemma3_270m())
  if kind == 'size':
    return _open_size(source, name)
  if not source or ('://' in source and not source.startswith('gs://')):
    raise CheckpointError(f'{source!r}: {_NO_FOLDER}')
  path = epath.Path(source)
  if path.suffix == '.gguf' and not path.is_dir():
    return _open_gguf(path)
  _refuse_pickles(path)
  if not path.is_dir():
    raise CheckpointError(f'{source!r}: {"is a file, " if path.exists() else ""}{_NO_FOLDER}')
  if (path / '_METADATA').exists():
    return _open_orbax(path)
  if (path / layout.SELECTION).exists():
    return _open_folder(_chosen(path / layout.SELECTION))
  if not (path / 'config.json').exists():
    inside = [*reading.matching(path, '*.gguf'), 'a folder as docs/checkpoints.md lists them']
    raise CheckpointError(f'{path}: no model folder: config.json is missing; give {inside[0]}')
  return _open_folder(path)


def _chosen(selection: epath.Path) -> epath.Path:
  """The checkpoint that a study chose of its trainings. Raises CheckpointError."""
  fields = reading.json_object(reading.read_file(selection, reading.SMALL), selection)
  rate = fields.get('learning_rate')
  if not isinstance(rate, float | int) or not (best := selection.parent / layout.rate(rate) / layout.BEST).is_dir():
    raise CheckpointError(f'{selection}: learning_rate={rate!r} names no checkpoint beside it')
  return best


def _is_huggingface(folder: epath.Path) -> bool:
  return bool(reading.matching(folder, '*.safetensors')) or (folder / huggingface.INDEX).exists()


def _refuse_pickles(path: epath.Path) -> None:
  """Raises CheckpointError for files that only unpickling could read, which can run any code."""
  pickles = [path] if path.suffix in _PICKLES else []
  if path.is_dir() and not (path / 'params').exists() and not _is_huggingface(path):
    pickles = sorted(f for ending in _PICKLES for f in reading.matching(path, f'*{ending}'))
  if pickles:
    raise CheckpointError(f'{pickles[0]}: a pickle can run any code and is never read; have the model as safetensors')


def _open_size(source: str, name: str) -> Model:
  if name not in families.SIZES:
    why = families.ABSENT.get(name, f'sizes are {", ".join(families.SIZES)}')
    raise CheckpointError(f'{source!r}: {why}')

  def refuse(*_, **__):
    raise CheckpointError(f'{source!r} is a shape without weights; give a folder that has them')

  return Model(families.SIZES[name], None, refuse, refuse, source, 'shape without weights')


def _open_folder(folder: epath.Path) -> Model:
  config = read_config(folder)
  tokenizer = Tokenizer.from_file(folder / 'tokenizer.model')
  if _is_huggingface(folder):
    kind = 'Hugging Face directory'
    _check_special_ids(folder, tokenizer)

    def stored():
      return _count((e.dtype.name, math.prod(e.shape)) for e in huggingface.entries(folder, config).values())
  else:
    kind = 'model folder (Orbax)'

    def stored():
      return _stored_orbax(folder / 'params', config)

  # Orbax gives its data files new names at every save, so names and sizes tell checkpoints apart without reading them.
  data = [f for form in ('*.safetensors', 'params/d/*', 'params/*/d/*') for f in reading.matching(folder, form)]

  def load(mesh: Mesh, dtype: Any = jnp.float32) -> Params:
    return read_params(folder, config, mesh, dtype)

  return _model(folder, config, tokenizer, load, stored, kind, data)


def _open_orbax(folder: epath.Path) -> Model:
  """An Orbax folder that does not say what it is: its shapes do, if it is of a named size."""
  found = {name: leaf.shape for name, leaf in checkpoint.stored(folder).items()}
  config = next((c for c in families.SIZES.values() if found == checkpoint.needed(c)), None)
  if config is None:
    raise CheckpointError(
      f'{folder}: its shapes are of no named size ({", ".join(families.SIZES)}); put it into a folder as params/, '
      'with config.json and tokenizer.model'
    )
  places = [folder / 'tokenizer.model', folder.parent / 'tokenizer.model']
  tokenizer = Tokenizer.from_file(next((p for p in places if p.exists()), places[0]))
  data = [f for form in ('d/*', '*/d/*') for f in reading.matching(folder, form)]
  return _model(
    folder,
    config,
    tokenizer,
    lambda mesh, dtype=jnp.float32: checkpoint.load(folder, config, mesh, dtype),
    lambda: _stored_orbax(folder, config),
    'Orbax folder of the gemma library',
    data,
  )


def _open_gguf(path: epath.PathLike) -> Model:
  path, gguf = epath.Path(path), families.gguf()
  config, model_proto = gguf.read_header(path)
  tokenizer = Tokenizer.from_bytes(model_proto)

  def load(mesh: Mesh, dtype: Any = jnp.float32) -> Params:
    shardings = sharding.for_params(config.shapes(), mesh)
    where = {checkpoint.path_name(k): s for k, s in jax.tree.leaves_with_path(shardings)}
    return gguf.read(path, lambda name, value: checkpoint.place(value, where[name], dtype))[1]

  return _model(path, config, tokenizer, load, lambda: gguf.types(path), 'GGUF file', [path])


def _model(path, config, tokenizer, load, stored, kind, data) -> Model:
  """Checks that the tokenizer is the model's, and names the files."""
  spare = config.vocab_size - tokenizer.vocab_size
  if not 0 <= spare <= _SPARE_ROWS:
    raise CheckpointError(
      f'{path}: its tokenizer has {tokenizer.vocab_size} pieces, the model {config.vocab_size} rows; '
      'the tokenizer is of another model'
    )
  listing = sorted((f.name, f.stat().length) for f in data)
  identity = hashlib.sha256(repr((tokenizer.fingerprint, listing)).encode()).hexdigest()[:16]
  return Model(config, tokenizer, load, stored, identity, kind)


def _check_special_ids(folder: epath.Path, tokenizer: Tokenizer) -> None:
  """Raises CheckpointError where Hugging Face's `config.json` gives control tokens other ids than the tokenizer."""
  own = {'bos': tokenizer.bos_id, 'eos': tokenizer.eos_id, 'pad': tokenizer.pad_id}
  for name, said in families.huggingface().control_ids(folder).items():
    if own[name] not in said:
      raise CheckpointError(
        f'{folder}: config.json has {name}_token_id={said[0] if len(said) == 1 else said}, the tokenizer {own[name]}; '
        'the tokenizer is of another model'
      )


def _stored_orbax(folder: epath.Path, config: Decoder) -> dict[str, int]:
  found = checkpoint.stored(folder)
  checkpoint.check(folder, {name: leaf.shape for name, leaf in found.items()}, config)
  return _count((leaf.dtype.name, leaf.size) for leaf in found.values())


def _count(typed: Iterable[tuple[str, int]]) -> dict[str, int]:
  counts: collections.Counter[str] = collections.Counter()
  for name, size in typed:
    counts[name] += size
  return dict(counts)
