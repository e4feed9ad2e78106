"""Small files of a model, read without trust in what they hold.

A model folder comes from elsewhere: a file may be damaged, of any size, or no file at all. What is read here is a
regular file of a bounded length; JSON is parsed and validated by pydantic, which bounds its depth, and every fault
becomes one sentence that names the file and the field.
"""

from __future__ import annotations

import pathlib
from typing import Any, TypeVar

import pydantic
import pydantic_core
from etils import epath

from sweb_jax.runtime import files
from sweb_jax.runtime.typed import fault

T = TypeVar('T')
SMALL = 1_000_000
"""Bytes of the largest config; published ones have some thousand."""


class CheckpointError(ValueError):
  """A model's files are missing, damaged, or of another architecture; the message names the file and the fault."""


def read_file(path: epath.PathLike, limit: int) -> bytes:
  """The content of a regular file of at most `limit` bytes.

  Pipes and devices are refused before they are opened: reading one may never end.

  Raises:
    CheckpointError: there is no such file, it is no regular file, it is longer, or it cannot be read.
  """
  length = file_length(path)
  if length > limit:
    raise CheckpointError(f'{path}: has {length:,} bytes; a file of this kind has at most {limit:,}')
  try:
    return epath.Path(path).read_bytes()
  except OSError as e:
    raise CheckpointError(f'{path}: cannot be read: {e.strerror or e}') from e


def file_length(path: epath.PathLike) -> int:
  """Bytes of a regular file. Raises CheckpointError where there is none."""
  path = epath.Path(path)
  try:
    if path.is_dir():
      raise CheckpointError(f'{path}: is a folder, where a file is due')
    # epath takes whatever is no folder for a file.
    if not files.on_object_store(path) and path.exists() and not pathlib.Path(path).is_file():
      raise CheckpointError(f'{path}: is a pipe or a device, where a file is due')
    return path.stat().length
  except FileNotFoundError as e:
    raise CheckpointError(f'{path}: no such file') from e
  except OSError as e:
    raise CheckpointError(f'{path}: cannot be read: {e.strerror or e}') from e


def matching(folder: epath.PathLike, pattern: str) -> list[epath.Path]:
  """What a folder holds under a pattern as `*/d/*`, sorted; brackets in the folder's own name are no pattern."""
  if files.on_object_store(folder):
    return sorted(epath.Path(folder).glob(pattern))
  return sorted(epath.Path(p) for p in pathlib.Path(folder).glob(pattern) if not p.name.startswith('.'))


def from_json(kind: type[T] | pydantic.TypeAdapter[T], data: bytes, where: epath.PathLike) -> T:
  """JSON as a value of a pydantic type.

  Args:
    kind: the type.
    data: the JSON, UTF-8.
    where: the file, for messages.

  Raises:
    CheckpointError: no JSON, nested too deeply, or a value of the wrong type or out of its range.
  """
  adapter = kind if isinstance(kind, pydantic.TypeAdapter) else pydantic.TypeAdapter(kind)
  try:
    return adapter.validate_json(data)
  except pydantic.ValidationError as e:
    raise CheckpointError(f'{where}: {fault(e)}') from e


def json_object(data: bytes, where: epath.PathLike) -> dict[str, Any]:
  """JSON whose root is an object, its values unchecked. Raises CheckpointError as `from_json`."""
  try:
    found = pydantic_core.from_json(data)
  except ValueError as e:
    raise CheckpointError(f'{where}: not JSON that can be read: {e}') from e
  if not isinstance(found, dict):
    raise CheckpointError(f'{where}: its root should be an object, not {type(found).__name__}')
  return found


def brief(error: BaseException) -> str:
  """What a library says of a damaged file, which may be pages, in one line."""
  return ' '.join(str(error).split())[:300] or type(error).__name__
