"""The manifest of a step's folder: of which version its files are, whether they are all there, and their checksums."""

from __future__ import annotations

import contextlib
import dataclasses
import fcntl
import hashlib
from collections.abc import Iterator, Mapping
from typing import Any

from etils import epath

from sweb_jax import layout
from sweb_jax.runtime import files, typed


class WorkdirError(ValueError):
  """The workdir cannot be used as it is; nothing in it was changed. The message says what to do."""


@dataclasses.dataclass(frozen=True)
class Manifest:
  """manifest.json of a step's folder."""

  version: str
  kind: str
  format: int
  settings: Mapping[str, Any]
  identities: Mapping[str, Any]
  inputs: Mapping[str, str]
  """Folder -> version of the steps it read."""
  extent: Mapping[str, Any] = dataclasses.field(default_factory=dict)
  done: bool = False
  seconds: float = 0.0
  """Wall time of all runs that finished."""
  nothing: str = ''
  """Why there is no result; '' where there is one."""
  counts: Mapping[str, int] = dataclasses.field(default_factory=dict)
  """What the reason rests on."""
  files: Mapping[str, tuple[int, str]] = dataclasses.field(default_factory=dict)
  """File below the folder -> its size in bytes and SHA-256, as they were when the step was finished."""


def read(root: epath.Path, folder: str) -> Manifest | None:
  """The manifest of a step's folder; None where there is none, or it is not whole."""
  try:
    return typed.from_json(Manifest, (root / folder / layout.MANIFEST).read_bytes())
  except (FileNotFoundError, NotADirectoryError, IsADirectoryError, ValueError):
    return None


def write(root: epath.Path, folder: str, manifest: Manifest) -> None:
  files.write_json(root / folder / layout.MANIFEST, dataclasses.asdict(manifest))


def checksums(folder: epath.Path, known: Mapping[str, tuple[int, str]]) -> dict[str, tuple[int, str]]:
  """File below a folder -> size and SHA-256; of a file that is never written again, as it is `known` to have been."""
  there = {str(path.relative_to(folder)): path for path in below(folder)}
  new = [n for n, path in there.items() if n != layout.MANIFEST and not (n in known and _immutable(path))]
  sums = files.side_by_side(lambda name: (there[name].stat().length, checksum(there[name])), new)
  return {n: s for n, s in known.items() if _immutable(folder / n)} | dict(zip(new, sums, strict=True))


def checksum(path: epath.Path) -> str:
  """SHA-256 of a file."""
  with path.open('rb') as f:
    return hashlib.file_digest(f, 'sha256').hexdigest()


def below(folder: epath.Path) -> Iterator[epath.Path]:
  """All files below a folder, sorted; object stores refuse a recursive pattern."""
  paths = sorted(folder.iterdir()) if folder.exists() else []
  for path, is_dir in zip(paths, files.side_by_side(lambda p: p.is_dir(), paths), strict=True):
    if is_dir:
      yield from below(path)
    else:
      yield path


def far_enough(found: Mapping[str, Any], wanted: Mapping[str, Any]) -> bool:
  """Whether a step has gone as far as is wanted: numbers may be higher, anything else must be equal.

  Both are JSON-like, with lists and no tuples.
  """

  def enough(name: str, value: Any) -> bool:
    have = found.get(name)
    if isinstance(value, bool | int) and isinstance(have, bool | int):
      return have >= value
    return have == value

  return all(enough(name, value) for name, value in wanted.items())


@contextlib.contextmanager
def lock(root: epath.Path) -> Iterator[None]:
  """Holds the workdir for this process. Raises WorkdirError while another one does, or for a folder of other files."""
  names = {p.name for p in root.iterdir()} if root.exists() else set()
  if names - {layout.LOCK, f'{layout.CONFIG}.tmp'} and not names & {layout.CONFIG, layout.STUDY}:
    raise WorkdirError(f'--workdir={root} holds files but no {layout.CONFIG}: not a workdir; name an empty folder')
  if files.on_object_store(root):  # It has no locks; a pod's launcher starts one run a workdir.
    yield
    return
  root.mkdir(parents=True, exist_ok=True)
  with open(root / layout.LOCK, 'w') as f:
    try:
      fcntl.flock(f, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError as e:
      raise WorkdirError(f'--workdir={root}: another run is writing to it; wait for it or stop it') from e
    yield  # The kernel drops the lock with the process, however that ends.


def _immutable(path: epath.Path) -> bool:
  """Whether a file is never written again under its name, as those are that sum up what has grown."""
  return path.match(layout.CHUNKS) or path.match(layout.VERDICTS) or path.match(layout.LEDGERS) or (
    layout.BEST in path.parts
  )
