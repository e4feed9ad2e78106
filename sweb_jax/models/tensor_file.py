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
from collections.abc import Iterable, Mapping

import ml_dtypes
import numpy as np
from etils import epath

from sweb_jax.models.checkpoint import CheckpointError

_DTYPES = {
  'F32': np.dtype(np.float32),
  'F16': np.dtype(np.float16),
  'BF16': np.dtype(ml_dtypes.bfloat16),
}
_CODES = {dtype: code for code, dtype in _DTYPES.items()}
_MAX_HEADER = 100_000_000  # The format's own limit, in bytes.


@dataclasses.dataclass(frozen=True)
class Entry:
  """A tensor of a file."""

  file: epath.Path
  dtype: np.dtype
  shape: tuple[int, ...]
  offset: int
  """Of its first byte in the file."""

  @property
  def size(self) -> int:
    """Bytes."""
    return math.prod(self.shape) * self.dtype.itemsize

  def read(self) -> np.ndarray:
    """The tensor. Raises CheckpointError where the file has become shorter."""
    out = np.empty(self.shape, self.dtype)
    view = out.reshape(-1).view(np.uint8)
    with self.file.open('rb') as f:
      f.seek(self.offset)
      at = 0
      while at < len(view):
        if not (got := f.readinto(memoryview(view)[at:])):
          raise CheckpointError(f'{self.file}: ends at byte {self.offset + at}; it is truncated')
        at += got
    return out


def entries(file: epath.PathLike) -> dict[str, Entry]:
  """The tensors of a file, by name. Reads its header only.

  Raises:
    CheckpointError: the file is truncated or no safetensors file, or a tensor is of a dtype that no Gemma has.
  """
  file = epath.Path(file)
  try:
    length = file.stat().length
    with file.open('rb') as f:
      (size,) = struct.unpack('<Q', f.read(8))
      if size > min(length - 8, _MAX_HEADER):
        raise ValueError(f'its header would be {size} bytes long, the file has {length}')
      header = json.loads(f.read(size))
    header.pop('__metadata__', None)
    fields = {name: (t['dtype'], tuple(t['shape']), *t['data_offsets']) for name, t in header.items()}
  except (OSError, ValueError, struct.error, KeyError, TypeError, AttributeError) as e:
    raise CheckpointError(f'{file}: damaged, or no safetensors file: {e}') from e
  found = {}
  for name, (code, shape, begin, end) in fields.items():
    if code not in _DTYPES:
      raise CheckpointError(f'{file}: tensor {name} is of type {code}; {", ".join(_DTYPES)} can be read')
    entry = Entry(file, _DTYPES[code], shape, 8 + size + begin)
    if begin < 0 or end - begin != entry.size:
      raise CheckpointError(f'{file}: damaged: tensor {name} of shape {shape} and type {code} has {end - begin} bytes')
    if 8 + size + end > length:
      raise CheckpointError(
        f'{file}: truncated: tensor {name} ends at byte {8 + size + end}, the file at byte {length}'
      )
    found[name] = entry
  return found


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
