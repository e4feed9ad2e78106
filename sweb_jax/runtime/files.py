"""Files that are whole or not there: written under a temporary name, then renamed; never changed afterwards."""

from __future__ import annotations

import errno
import json
from typing import Any

from etils import epath


class FullDiskError(OSError):
  """No space is left where the workdir is; what was finished is intact."""


def write_bytes(path: epath.PathLike, data: bytes) -> None:
  """Writes a file atomically, making its folder. Raises FullDiskError where no space is left."""
  path = epath.Path(path)
  path.parent.mkdir(parents=True, exist_ok=True)
  # One writer a workdir, so the name need not be unique; a leftover of a killed run is written over.
  temporary = path.parent / f'{path.name}.tmp'
  try:
    temporary.write_bytes(data)
    temporary.replace(path)
  except OSError as e:
    if e.errno in (errno.ENOSPC, errno.EDQUOT):
      temporary.unlink(missing_ok=True)
      raise FullDiskError(
        e.errno, f'no space left for {path}; free some and run the same command again: finished work is kept'
      ) from e
    raise


def write_text(path: epath.PathLike, text: str) -> None:
  """Like `write_bytes`, in UTF-8."""
  write_bytes(path, text.encode())


def write_json(path: epath.PathLike, value: Any) -> None:
  """Like `write_text`; indented, so that a person can read it."""
  write_text(path, json.dumps(value, indent=2) + '\n')
