"""Hugging Face model directories (`config.json`, safetensors, tokenizer), read and written tensor by tensor."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Annotated, Any

import jax
import jax.numpy as jnp
import numpy as np
import pydantic
from etils import epath
from jax.sharding import Mesh
from pydantic import Field

from sweb_jax.models import checkpoint, families, huggingface_tokenizer, reading, sharding, tensor_file
from sweb_jax.models.decoder import Decoder, Params
from sweb_jax.models.reading import CheckpointError
from sweb_jax.models.tokenizer import Tokenizer
from sweb_jax.runtime import files

INDEX = 'model.safetensors.index.json'
SHARD_BYTES = 4_000_000_000
"""Of one safetensors file at most, but for a single larger parameter."""

_INDEX_BYTES = 3_000_000


class _Index(pydantic.BaseModel):
  """`model.safetensors.index.json`."""

  model_config = pydantic.ConfigDict(strict=True)

  weight_map: Annotated[dict[str, str], Field(min_length=1)]


def load(folder: epath.PathLike, config: Decoder, mesh: Mesh, dtype: Any = jnp.float32) -> Params:
  """Reads the parameters tensor by tensor, each straight to its shards.

  Args:
    folder: the directory.
    config: its architecture, as its `config.json` gives it.
    mesh: where the parameters go.
    dtype: they are cast to; None: as they are stored.

  Raises:
    CheckpointError: a tensor is missing or of another shape, or a file is missing or damaged.
  """
  found, family = entries(folder, config), families.huggingface(config)
  return jax.tree.map_with_path(
    lambda path, where: checkpoint.place(
      family.parameter(checkpoint.path_name(path), lambda name: found[name].read(), config), where, dtype
    ),
    sharding.for_params(config.shapes(), mesh),
  )


def entries(folder: epath.PathLike, config: Decoder) -> dict[str, tensor_file.Entry]:
  """The tensors that make the model, found in the directory's files, of which only headers are read.

  A stored output layer is the exception: it is compared with the embedding, in whose place it would be used.

  Raises:
    CheckpointError: as `load`, or there are tensors that would change what the model computes.
  """
  folder, family = epath.Path(folder), families.huggingface(config)
  stored = _stored(folder, family.PREFIXES)
  needed = family.shapes(config)
  for path, tensors in needed.items():
    for name, shape in tensors.items():
      if name not in stored:
        raise CheckpointError(f'{folder}: tensor {name} is missing')
      if not _fits(stored[name].shape, shape, spare=family.SPARE_ROWS and name == family.EMBEDDING):
        raise CheckpointError(
          f'{folder}: tensor {name} has shape {stored[name].shape}, its config.json needs {shape} (for {path})'
        )
  found = {name: stored.pop(name) for tensors in needed.values() for name in tensors}
  for entry in found.values():
    _ = entry.dtype  # Raises for a type that cannot be read.
  output = stored.pop(family.OUTPUT, None)
  if output and not output.same_bytes(found[family.EMBEDDING]):
    raise CheckpointError(
      f'{folder}: {family.OUTPUT} differs from the embedding; Gemmas have one table for both, and so has this project'
    )
  unread = family.unread(config)
  if left := sorted(name for name in stored.keys() - unread if not name.startswith(family.NOT_TEXT)):
    raise CheckpointError(f'{folder}: tensor {left[0]!r:.200} is no part of the model that its config.json describes')
  return found


def _stored(folder: epath.Path, prefixes: Mapping[str, str]) -> dict[str, tensor_file.Entry]:
  """Every tensor of the directory, by the name it has in a model that reads text only."""
  found: dict[str, tensor_file.Entry] = {}
  for file, wanted in _files(folder).items():
    inside = tensor_file.entries(folder / file)
    if missing := sorted(wanted - inside.keys()):
      raise CheckpointError(f'{folder / file}: tensor {missing[0]!r:.200}, which {INDEX} names, is missing')
    for name, entry in inside.items():
      # In a model that also sees, the part that reads text has a name of its own.
      for theirs, ours in prefixes.items():
        if name.startswith(theirs):
          name = ours + name.removeprefix(theirs)
          break
      if name in found:
        raise CheckpointError(f'{folder}: tensor {name!r:.200} is in {found[name].file.name} and in {file}')
      found[name] = entry
  return found


def _files(folder: epath.Path) -> dict[str, set[str]]:
  """The files that hold the tensors, chosen as transformers does, and the tensors that the index says are in each."""
  there = {f.name for f in reading.matching(folder, '*.safetensors')}
  index = folder / INDEX
  if 'model.safetensors' in there or not index.exists():
    names = {'model.safetensors'} & there or there
    if not names:
      raise CheckpointError(f'{folder}: there is no *.safetensors file')
    return {name: set() for name in sorted(names)}
  found: dict[str, set[str]] = {}
  for tensor, file in reading.from_json(_Index, reading.read_file(index, _INDEX_BYTES), index).weight_map.items():
    found.setdefault(file, set()).add(tensor)
  if missing := sorted(found.keys() - there):
    raise CheckpointError(f'{folder}: {missing[0]!r:.200}, which {INDEX} names, is missing')
  return found


def save(
  folder: epath.PathLike,
  config: Decoder,
  params: Params,
  tokenizer: Tokenizer,
  *,
  chat: bool = False,
  shard_bytes: int = SHARD_BYTES,
) -> None:
  """Writes a directory that `AutoModelForCausalLM` and `AutoTokenizer` load with no further argument.

  Each parameter comes to the host, is written and is let go. `config.json` is written last.

  Args:
    folder: made where it is missing.
    config: the architecture.
    params: float32, bfloat16 or float16; they are written as they are.
    tokenizer: written as `tokenizer.model` and `tokenizer.json`.
    chat: the model was tuned on chat turns: it gets their template and ends where a turn does, too.
    shard_bytes: largest safetensors file, if no parameter is larger.

  Raises:
    CheckpointError: Hugging Face has no such architecture.
    TokenizerError: the vocabulary cannot be written as `tokenizer.json`, or has no marks of turns.
  """
  folder = epath.Path(folder)
  fields = families.huggingface().write(config)
  ends = [tokenizer.eos_id, *((tokenizer.turn_ids()[1],) if chat else ())]
  special = {
    'bos_token_id': tokenizer.bos_id,
    'eos_token_id': ends if chat else ends[0],
    'pad_token_id': tokenizer.pad_id,
  }
  leaves = {checkpoint.path_name(path): x for path, x in jax.tree.leaves_with_path(params)}
  folder.mkdir(parents=True, exist_ok=True)
  huggingface_tokenizer.save(folder, tokenizer, chat)
  _write_tensors(folder, config, leaves, shard_bytes)
  # Greedy unless asked otherwise: what a user compares with is then the same text.
  files.write_json(folder / 'generation_config.json', special | {'do_sample': False})
  dtype = next(iter(leaves.values())).dtype.name
  files.write_json(folder / 'config.json', fields | special | {'torch_dtype': dtype})


def _write_tensors(
  folder: epath.Path, config: Decoder, leaves: Mapping[str, jax.Array], shard_bytes: int
) -> None:
  shards: list[list[str]] = []
  room = -1
  for path, x in leaves.items():
    if x.nbytes > room:
      shards.append([])
      room = shard_bytes
    shards[-1].append(path)
    room -= x.nbytes
  family = families.huggingface(config)
  shapes, weight_map = family.shapes(config), {}
  for number, paths in enumerate(shards, 1):
    single = len(shards) == 1
    name = 'model.safetensors' if single else f'model-{number:05}-of-{len(shards):05}.safetensors'
    layout = {tensor: (leaves[p].dtype, shape) for p in paths for tensor, shape in _sorted(shapes[p])}
    made = (made for p in paths for made in _sorted(family.tensors(p, _on_host(leaves[p]), config)))
    with files.full_disk_named(folder / name):
      tensor_file.write(folder / name, layout, made)
    weight_map |= dict.fromkeys(layout, name)
  if len(shards) > 1:
    total = sum(x.nbytes for x in leaves.values())
    files.write_json(folder / INDEX, {'metadata': {'total_size': total}, 'weight_map': weight_map})


def _fits(found: tuple[int, ...], needed: tuple[int, ...], spare: bool) -> bool:
  """Whether a tensor has the shape. A table may have `spare` rows, of images and sound, at its end."""
  return found == needed or (spare and found[1:] == needed[1:] and found[:1] > needed[:1])


def _sorted(tensors: Mapping[str, Any]) -> list[tuple[str, Any]]:
  return [(name, tensors[name]) for name in sorted(tensors)]


def _on_host(x: jax.Array) -> np.ndarray:
  return np.asarray(x.copy())  # Of a copy, as an array keeps the host's copy that was made of it.
