"""The files that a builder starts from: the user's own, else downloaded.

No checksums are registered: TFDS takes a download without one. Addresses name a commit, whose content cannot change.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence

from absl import logging
from etils import epath

from sweb_jax.records import RecordError, read_json_lines
from sweb_jax.runtime import typed
from sweb_jax.tasks import TaskError


def manual_dir(download_manager) -> epath.Path | None:
  """The folder of the user's files, or None where there is none or it is empty."""
  try:
    return epath.Path(download_manager.manual_dir)
  except AssertionError:  # What TFDS raises for a folder that is missing or empty.
    return None


def locate(download_manager, names: Sequence[str], url: str = '') -> epath.Path | None:
  """The first file of `names` ('train', 'gsm8k/train') in the user's folder, plain or .gz, else the download of `url`.

  Returns None where it is not there and has no address. Raises TaskError where the download fails.
  """
  folder = manual_dir(download_manager)
  if folder is not None:
    paths = (folder / f'{name}.jsonl{ending}' for name in names for ending in ('', '.gz'))
    if (path := next((p for p in paths if p.exists()), None)) is not None:
      return path
  if not url:
    return None
  logging.info('%s.jsonl is not in %s; downloading %s', names[0], folder or 'a folder of your own', url)
  try:
    return epath.Path(download_manager.download(url))
  except Exception as e:  # Of many kinds: of requests, of TFDS, of the file system.
    raise TaskError(
      f'{url} cannot be downloaded ({type(e).__name__}: {e}); fetch it elsewhere and put it as {names[0]}.jsonl or '
      f'{names[0]}.jsonl.gz into the folder that --manual_dir names'
    ) from e


def missing(names: Sequence[str], instructions: str) -> TaskError:
  """The error for a file that must be there."""
  return TaskError(f'--manual_dir has no {names[0]}.jsonl or {names[0]}.jsonl.gz. {" ".join(instructions.split())}')


def rows(path: epath.Path, required: Sequence[str], optional: Mapping[str, object] | None = None) -> Iterator[dict]:
  """The rows of a JSON-lines file, with the `required` fields and the `optional` ones, those with their defaults.

  Raises TaskError, which names the file, the line and the field at fault.
  """
  try:
    for line, row in read_json_lines(path):
      if absent := [f for f in required if f not in row]:
        raise TaskError(f"{path}, line {line}: the field '{absent[0]}' is missing; the row has {typed.names(row)}")
      yield {f: row[f] for f in required} | {f: row.get(f, default) for f, default in (optional or {}).items()}
  except RecordError as e:
    raise TaskError(str(e)) from e
