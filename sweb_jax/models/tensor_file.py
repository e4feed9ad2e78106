"""Safetensors files, read and written one tensor at a time.

The format is small: the length of a JSON header in 8 bytes, the header (dtype, shape and place of each tensor), the
bytes. The library of that name holds all tensors of a file while it writes it and maps whole files while it reads; here
host memory is that of one tensor, and paths may be on an object store. The tests compare with the library.
"""

from __future__ import annotations

import dataclasses
import json
import math
import struct
from collections.abc import Iterable, Iterator, Mapping
from typing import Annotated

import ml_dtypes
import numpy as np
import pydantic
from etils import epath
from pydantic import Field

from sweb_jax.models import reading
from sweb_jax.models.reading import CheckpointError
from sweb_jax.runtime.typed import fault

_DTYPES = {
  'F32': np.dtype(np.float32),
  'F16': np.dtype(np.float16),
  'BF16': np.dtype(ml_dtypes.bfloat16),
}
_CODES = {dtype: code for code, dtype in _DTYPES.items()}
_MAX_HEADER = 3_000_000
"""Bytes; that of the largest Gemma has some hundred thousand. The format's own limit is a hundred million."""
_MAX_TENSORS = 20_000
_PIECE = 1 << 24
"""Bytes that are compared at once."""

_Count = Annotated[int, Field(ge=0, le=2**48)]


class _Stored(pydantic.BaseModel):
  """What a header says of a tensor."""

  model_config = pydantic.ConfigDict(strict=True)

  dtype: str
  shape: Annotated[list[_Count], Field(max_length=8)]
  data_offsets: Annotated[list[_Count], Field(min_length=2, max_length=2)]


@dataclasses.dataclass(frozen=True)
class Entry:
  """A tensor of a file."""

  file: epath.Path
  name: str
  """In the file."""
  code: str
  """The format's name of the type."""
  shape: tuple[int, ...]
  offset: int
  """Of its first byte in the file."""
  size: int
  """Bytes."""

  @property
  def dtype(self) -> np.dtype:
    """Raises CheckpointError for a type that no Gemma has; a file may hold such tensors beside the model's."""
    if self.code not in _DTYPES:
      raise CheckpointError(
        f'{self.file}: tensor {self.name!r:.200} is of type {self.code!r:.20}; {", ".join(_DTYPES)} can be read'
      )
    return _DTYPES[self.code]

  def read(self) -> np.ndarray:
    """The tensor. Raises CheckpointError where the file has become shorter."""
    out = np.empty(self.shape, self.dtype)
    view = memoryview(out.reshape(-1).view(np.uint8))
    with self.file.open('rb') as f:
      f.seek(self.offset)
      at = 0
      while at < len(view):
        if not (got := f.readinto(view[at:])):
          raise CheckpointError(f'{self.file}: ends at byte {self.offset + at}; it is truncated')
        at += got
    return out

  def same_bytes(self, other: Entry) -> bool:
    """Whether both hold the same values in the same type. Stops at the first difference. Raises as `read`."""
    if (self.code, self.shape) != (other.code, other.shape):
      return False
    return all(a == b for a, b in zip(self._pieces(), other._pieces(), strict=True))

  def _pieces(self) -> Iterator[bytes]:
    with self.file.open('rb') as f:
      f.seek(self.offset)
      for at in range(0, self.size, _PIECE):
        wanted = min(_PIECE, self.size - at)
        if len(piece := f.read(wanted)) < wanted:
          raise CheckpointError(f'{self.file}: ends at byte {self.offset + at + len(piece)}; it is truncated')
        yield piece


def entries(file: epath.PathLike) -> dict[str, Entry]:
  """The tensors of a file, by name. Reads its header only, and holds it against the length of the file.

  Raises:
    CheckpointError: the file is truncated, longer than its header says, or no safetensors file.
  """
  file = epath.Path(file)
  length = reading.file_length(file)
  try:
    with file.open('rb') as f:
      start = f.read(8)
      size = struct.unpack('<Q', start)[0] if len(start) == 8 else length
      if size > length - 8:
        raise CheckpointError(f'{file}: truncated, or no safetensors file: it has {length} bytes')
      if size > _MAX_HEADER:
        raise CheckpointError(f'{file}: damaged, or no Gemma: its header has {size:,} bytes, above {_MAX_HEADER:,}')
      header = reading.json_object(f.read(size), f'{file}: damaged, or no safetensors file: its header')
  except OSError as e:
    raise CheckpointError(f'{file}: cannot be read: {e.strerror or e}') from e
  header.pop('__metadata__', None)
  if len(header) > _MAX_TENSORS:
    raise CheckpointError(f'{file}: damaged, or no Gemma: it has {len(header):,} tensors, above {_MAX_TENSORS:,}')
  found = {}
  for name, said in header.items():
    try:
      t = _Stored.model_validate(said)
    except pydantic.ValidationError as e:
      raise CheckpointError(f'{file}: damaged: tensor {name!r:.200}: {fault(e)}') from e
    begin, end = t.data_offsets
    found[name] = Entry(file, name, t.dtype, tuple(t.shape), 8 + size + begin, end - begin)
  _check_places(file, found, 8 + size, length)
  return found


def _check_places(file: epath.Path, found: Mapping[str, Entry], start: int, length: int) -> None:
  """Raises CheckpointError unless the tensors lie side by side and fill the file, as the format has it."""
  at = start
  for entry in sorted(found.values(), key=lambda e: (e.offset, e.size)):
    tensor, end = f'tensor {entry.name!r:.200}', entry.offset + entry.size
    if entry.offset != at:
      raise CheckpointError(f'{file}: damaged: {tensor} begins at byte {entry.offset}, not {at}')
    if entry.code in _DTYPES and entry.size != math.prod(entry.shape) * entry.dtype.itemsize:
      raise CheckpointError(
        f'{file}: damaged: {tensor} of shape {entry.shape} and type {entry.code} has {entry.size} bytes'
      )
    if end > length:
      raise CheckpointError(f'{file}: truncated: {tensor} ends at byte {end}, the file at byte {length}')
    at = end
  if at != length:
    raise CheckpointError(f'{file}: damaged: its tensors end at byte {at}, the file at byte {length}')


def write(
  file: epath.PathLike,
  layout: Mapping[str, tuple[np.dtype, tuple[int, ...]]],
  tensors: Iterable[tuple[str, np.ndarray]],
) -> None:
  """Writes a file.

  Args:
    file: its path; what is there is written over.
    layout: dtype and shape of each tensor, in the order of the bytes.
    tensors: (name, tensor) in that order, made when they are asked for.
  """
  header, at = {'__metadata__': {'format': 'pt'}}, 0
  for name, (dtype, shape) in layout.items():
    end = at + math.prod(shape) * np.dtype(dtype).itemsize
    header[name] = {'dtype': _CODES[np.dtype(dtype)], 'shape': list(shape), 'data_offsets': [at, end]}
    at = end
  head = json.dumps(header, separators=(',', ':')).encode()
  head += b' ' * (-len(head) % 8)
  with epath.Path(file).open('wb') as f:
    f.write(struct.pack('<Q', len(head)) + head)
    for (name, tensor), planned in zip(tensors, layout.items(), strict=True):
      assert (name, (tensor.dtype, tensor.shape)) == planned
      f.write(memoryview(np.ascontiguousarray(tensor).reshape(-1).view(np.uint8)))
