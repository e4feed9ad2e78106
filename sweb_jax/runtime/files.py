"""Files that are whole or not there: written under a temporary name, then renamed; never changed afterwards.

On an object store (`gs://`) nothing is renamed or appended to: an object is there when it is whole.
"""

from __future__ import annotations

import collections
import concurrent.futures
import contextlib
import errno
import json
import os
import shutil
import tempfile
from collections.abc import Callable, Iterable, Iterator
from typing import Any, BinaryIO, TypeVar

from etils import epath

_AT_ONCE = 16
"""Requests to an object store that wait for their answers side by side."""

Item = TypeVar('Item')
Result = TypeVar('Result')


class FullDiskError(OSError):
  """No space is left where the workdir is; what was finished is intact."""


@contextlib.contextmanager
def full_disk_named(path: epath.PathLike) -> Iterator[None]:
  """Raises FullDiskError where what writes `path` finds no space left; libraries have errors of their own for that."""
  try:
    yield
  except FullDiskError:
    raise
  except Exception as e:
    full = (errno.ENOSPC, errno.EDQUOT)
    if getattr(e, 'errno', None) in full or any(os.strerror(code) in str(e) for code in full):
      raise FullDiskError(
        errno.ENOSPC, f'no space left for {path}; free some and run the same command again: finished work is kept'
      ) from e
    raise


def side_by_side(work: Callable[[Item], Result], items: Iterable[Item]) -> Iterator[Result]:
  """Yields what `work` makes of each item, in order; a few are worked on at once, as each may wait for a store."""
  with concurrent.futures.ThreadPoolExecutor(_AT_ONCE) as pool:
    waiting: collections.deque[concurrent.futures.Future[Result]] = collections.deque()
    for item in items:
      waiting.append(pool.submit(work, item))
      if len(waiting) == 2 * _AT_ONCE:
        yield waiting.popleft().result()
    while waiting:
      yield waiting.popleft().result()


def on_object_store(path: epath.PathLike) -> bool:
  """Whether a path is an object's name (`gs://`), without renames, appends, locks or folders."""
  return '://' in str(path)


def absolute(path: epath.PathLike) -> epath.Path:
  """The path from the root. An object's name is one; `resolve` would put the working directory before it."""
  path = epath.Path(path)
  return path if on_object_store(path) else path.resolve()


@contextlib.contextmanager
def writing(path: epath.PathLike) -> Iterator[BinaryIO]:
  """A context: what is written into it is the file once it has ended without an error, and nothing is there before.

  Makes the file's folder. Raises FullDiskError where no space is left.
  """
  path = epath.Path(path)
  if on_object_store(path):  # An object is there once it is closed, even half of it: it is sent at the end.
    with tempfile.TemporaryFile() as local:
      yield local
      local.seek(0)
      with path.open('wb') as sent:
        shutil.copyfileobj(local, sent)
    return
  path.parent.mkdir(parents=True, exist_ok=True)
  # One writer a workdir, so the name need not be unique; a leftover of a killed run is written over.
  temporary = path.parent / f'{path.name}.tmp'
  with full_disk_named(path):
    try:
      with temporary.open('wb') as file:
        yield file
    except BaseException:
      temporary.unlink(missing_ok=True)
      raise
    temporary.replace(path)


def write_bytes(path: epath.PathLike, data: bytes) -> None:
  """Writes a file atomically, making its folder. Raises FullDiskError where no space is left."""
  with writing(path) as file:
    file.write(data)


def write_text(path: epath.PathLike, text: str) -> None:
  """Like `write_bytes`, in UTF-8."""
  write_bytes(path, text.encode())


def write_json(path: epath.PathLike, value: Any, indent: int | None = 2) -> None:
  """Like `write_text`; indented, so that a person can read it."""
  write_text(path, json.dumps(value, indent=indent) + '\n')


def read_json(path: epath.PathLike) -> Any:
  """What `write_json` wrote. Raises ValueError, which names the file, for anything else, and OSError."""
  try:
    return json.loads(epath.Path(path).read_text())
  except (ValueError, RecursionError) as e:
    raise ValueError(f'{path}: not JSON: {e}') from e


def move(source: epath.Path, target: epath.Path) -> None:
  """Moves a file or folder; on an object store, which cannot rename, its objects are copied and then removed."""
  target.parent.mkdir(parents=True, exist_ok=True)
  if not on_object_store(source):
    source.rename(target)
    return
  if not source.is_dir():
    source.copy(target)
    source.unlink()
    return
  for path in source.iterdir():
    move(path, target / path.name)
  source.rmtree()


def remove(path: epath.Path) -> None:
  """Removes a file or folder; nothing may be there."""
  if path.is_dir():
    path.rmtree()
  elif path.exists():
    path.unlink()


def set_aside(source: epath.Path, target: epath.Path) -> epath.Path:
  """Moves a file or folder to `target`, or to target-1, target-2, ... where something is; returns where it is now."""
  free, number = target, 0
  while free.exists():
    number += 1
    free = target.parent / f'{target.name}-{number}'
  move(source, free)
  return free
