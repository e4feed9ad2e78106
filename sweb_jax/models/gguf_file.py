"""Opens a GGUF file (llama.cpp's format) with the `gguf` package, bounded by the file's length and by what a Gemma has.

The package was not written for damaged files: it makes Python objects of every element of an array, follows any count
that a file gives, and lets short reads pass. Here counts are held against the file and against limits first.
"""

from __future__ import annotations

import mmap
import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np

from sweb_jax.models import reading
from sweb_jax.models.reading import CheckpointError

Fields = Callable[..., Any]
"""(key, default) to a metadata field; without default a missing one is an error."""

_FIELDS = 1000
_TENSORS = 20_000
_STRINGS = 300_000
"""Of all arrays together; a Gemma has 262,144."""
_DIMENSIONS = 4


KINDS = ('F32', 'F16', 'Q8_0')
"""Types of the matrices in files that are written; norms are F32 in all of them."""


class GgufError(CheckpointError):
  """The file holds no model that can be read; the message names the file and the tensor or field at fault."""


def open_gguf(path: str | os.PathLike) -> Any:
  """A `gguf.GGUFReader` of the file; every tensor lies within it.

  Raises:
    GgufError: `gguf` is not installed, or the file is missing, damaged or truncated.
  """
  try:
    import gguf
  except ImportError as e:
    raise GgufError(f'{path}: reading GGUF needs the gguf package: pip install gguf') from e
  try:
    reading.file_length(path)  # Mapping a pipe would wait for ever.
    return _reader_class(gguf.GGUFReader)(path)
  except GgufError:
    raise
  except (OSError, CheckpointError) as e:
    raise GgufError(str(e) if isinstance(e, CheckpointError) else f'{path}: cannot be opened: {e}') from e
  except Exception as e:  # Whatever the package makes of a damaged file.
    raise GgufError(f'{path}: not a readable GGUF file: in its metadata: {reading.brief(e)}') from e


def fields(path: str | os.PathLike, reader: Any) -> Fields:
  """The metadata as a function of (key, default), which raises a GgufError that names what is missing."""

  def field(key: str, *default: Any) -> Any:
    found = reader.get_field(key)
    if found is None and not default:
      raise GgufError(f'{path}: metadata field {key!r} is missing')
    try:
      return default[0] if found is None else found.contents()
    except ValueError as e:
      raise GgufError(f'{path}: metadata field {key!r} cannot be read: {reading.brief(e)}') from e

  return field


def forget(reader: Any) -> None:
  """Lets go of the pages of the mapped file that were read: they would count as this process's memory."""
  if hasattr(mmap, 'MADV_DONTNEED'):
    reader.data._mmap.madvise(mmap.MADV_DONTNEED)


def _reader_class(base: type) -> type:
  """`gguf.GGUFReader` with bounds, and arrays read at once."""
  from gguf import GGUFValueType

  class Reader(base):
    def __init__(self, path):
      self._path, self._strings = Path(path), 0
      super().__init__(path)

    def _get(self, offset, dtype, count=1, override_order=None):
      count, dtype = int(count), np.dtype(dtype)
      self._within(int(offset) + count * dtype.itemsize)
      values = np.frombuffer(self.data, dtype, count, int(offset))
      return values.view(dtype.newbyteorder(override_order or self.byte_order))

    def _within(self, end):
      if end > self.data.size:
        raise EOFError(f'it ends at byte {end}, the file at byte {self.data.size}: the file is truncated')

    def _build_fields(self, offs, count):
      return super()._build_fields(offs, _at_most(count, _FIELDS, 'metadata fields'))

    def _build_tensor_info(self, offs, count):
      return super()._build_tensor_info(offs, _at_most(count, _TENSORS, 'tensors'))

    def _get_field_parts(self, orig_offs, raw_type):
      if raw_type != GGUFValueType.ARRAY:
        return super()._get_field_parts(orig_offs, raw_type)
      kind, count = self._get(orig_offs, np.uint32), self._get(orig_offs + 4, np.uint64)
      element, number, at = GGUFValueType(int(kind[0])), int(count[0]), orig_offs + 12
      if element == GGUFValueType.STRING:
        self._strings += number
        _at_most(self._strings, _STRINGS, 'strings')
        found, end = self._texts(at, number)
      elif element == GGUFValueType.ARRAY:
        raise ValueError('an array of arrays')
      else:
        found = [self._get(at, self.gguf_scalar_to_np[element], number)]
        end = at + found[0].nbytes
      return end - orig_offs, [kind, count, *found], list(range(2, 2 + len(found))), [GGUFValueType.ARRAY, element]

    def _texts(self, at, number):
      """(bytes of each string, where they end)."""
      data, order, found = memoryview(self.data), 'little' if self.byte_order == 'I' else 'big', []
      for _ in range(number):
        self._within(at + 8)
        begin = at + 8
        at = begin + int.from_bytes(data[begin - 8 : begin], order)
        self._within(at)
        found.append(data[begin:at])
      return found, at

    def _build_tensors(self, start_offs, fields):
      tensors = []
      for field in fields:
        try:
          _at_most(len(field.parts[3]), _DIMENSIONS, 'dimensions')
          self._within(int(start_offs) + int(field.parts[5][0]))
          super()._build_tensors(start_offs, [field])
        except Exception as e:  # As in `open_gguf`.
          raise GgufError(f'{self._path}: tensor {field.name!r:.200} cannot be read: {reading.brief(e)}') from e
        tensors += self.tensors
      self.tensors = tensors

  return Reader


def _at_most(count: Any, limit: int, what: str) -> int:
  if int(count) > limit:
    raise ValueError(f'{int(count):,} {what}; a Gemma has at most {limit:,}')
  return int(count)
