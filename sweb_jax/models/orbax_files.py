"""Finds damage of an Orbax folder in its index, without reading an array.

Orbax keeps arrays in an OCDBT store: a manifest, a tree of small nodes, and data files, in which a node names a piece
by file, offset and length. TensorStore shows the nodes (`tensorstore.ocdbt.dump`); the lengths of the files are held
against them. On object stores nothing is looked at: an object is there whole or not at all.
"""

from __future__ import annotations

import os
import stat
from collections.abc import Iterator
from pathlib import Path

import tensorstore
from etils import epath

from sweb_jax.models import reading
from sweb_jax.models.reading import CheckpointError
from sweb_jax.runtime import files

_DESCRIBING = 50_000_000
"""Bytes of the largest file that describes arrays; those of the largest Gemma have less than a million."""
_HEIGHT = 16
"""Levels of the tree; one or two are usual."""


def check(folder: epath.PathLike) -> None:
  """Raises CheckpointError where a file is a pipe or a device, missing, or shorter than the index says."""
  if files.on_object_store(folder):
    return
  folder = Path(folder)
  lengths = dict(_lengths(folder))
  for name, length in lengths.items():
    describes = not name.startswith('d/') and '/d/' not in name
    if describes and length > _DESCRIBING:
      raise CheckpointError(f'{folder / name}: has {length:,} bytes; a file of this kind has at most {_DESCRIBING:,}')
  if 'manifest.ocdbt' not in lengths:
    return
  try:
    pieces = list(_pieces(folder))
  except Exception as e:  # Whatever TensorStore makes of a damaged file.
    raise CheckpointError(f'{folder}: a torn Orbax checkpoint: its index cannot be read: {reading.brief(e)}') from e
  for name, end in pieces:
    if end > lengths.get(name, 0):
      found = f'ends at byte {lengths[name]}' if name in lengths else 'is missing'
      raise CheckpointError(f'{folder}: a torn Orbax checkpoint: {name} {found}, and should have {end} bytes or more')


def _lengths(folder: Path) -> Iterator[tuple[str, int]]:
  """(name, bytes) of every file below a folder."""
  for parent, _, names in os.walk(folder):
    for name in names:
      path = Path(parent, name)
      found = path.stat()
      if not stat.S_ISREG(found.st_mode):
        raise CheckpointError(f'{path}: is a pipe or a device, where a file is due')
      yield path.relative_to(folder).as_posix(), found.st_size


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
