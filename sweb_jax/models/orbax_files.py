"""Finds damage of an Orbax folder in its index, without reading an array.

Orbax keeps arrays in an OCDBT store: a manifest, a tree of small nodes, and data files, in which a node names a piece
by file, offset and length. TensorStore shows the nodes (`tensorstore.ocdbt.dump`); the lengths of the files are held
against them. On object stores nothing is looked at: an object is there whole or not at all.
"""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path

import tensorstore
from etils import epath

from sweb_jax.models import reading
from sweb_jax.models.reading import CheckpointError
from sweb_jax.runtime import files

_LARGEST = dict.fromkeys(('_METADATA', '_CHECKPOINT_METADATA', 'manifest.ocdbt', '.zarray'), 5_000_000)
_LARGEST['_sharding'] = 50_000_000  # It lists the devices of every array.
"""Bytes of the files that describe arrays; but for `_sharding`, the largest Gemma's have some hundred thousand."""
_HEIGHT = 16
"""Levels of the tree; one or two are usual."""


def check(folder: epath.PathLike) -> None:
  """Raises CheckpointError where a file is a pipe or a device, missing, or shorter than the index says."""
  if files.on_object_store(folder):
    return
  folder = Path(folder)
  for parent, _, names in os.walk(folder):
    for path in (Path(parent, name) for name in names):
      length = reading.file_length(path)
      if length > (limit := _LARGEST.get(path.name, length)):
        raise CheckpointError(f'{path}: has {length:,} bytes; a file of this kind has at most {limit:,}')
  if not (folder / 'manifest.ocdbt').exists():
    return
  ends: dict[str, int] = {}
  try:
    for name, end in _pieces(folder):
      ends[name] = max(end, ends.get(name, 0))
  except Exception as e:  # Whatever TensorStore makes of a damaged file.
    raise CheckpointError(f'{folder}: a torn Orbax checkpoint: its index cannot be read: {reading.brief(e)}') from e
  for name, end in ends.items():
    if end > (length := reading.file_length(folder / name)):
      raise CheckpointError(f'{folder}: a torn Orbax checkpoint: {name} ends at byte {length}, not {end} or later')


def _pieces(folder: Path) -> Iterator[tuple[str, int]]:
  """(file, end) of every piece that the tree of the newest version names."""
  store = tensorstore.KvStore.open({'driver': 'file', 'path': f'{folder}/'}).result()
  versions = tensorstore.ocdbt.dump(store).result()['versions']
  level = [versions[-1]['root'].get('location')] if versions else []
  for _ in range(_HEIGHT):
    below = []
    for place in filter(None, level):
      yield _end(place)
      for entry in tensorstore.ocdbt.dump(store, place).result()['entries']:
        if 'indirect_value' in entry:
          yield _end(entry['indirect_value'])
        below.append(entry.get('location'))
    level = below


def _end(place: str) -> tuple[str, int]:
  """'value:ocdbt.process_0/:d/33c1:72636:4312' as (file, end)."""
  _, base, name, offset, length = place.split(':')
  return base + name, int(offset) + int(length)
