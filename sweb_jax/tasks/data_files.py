"""Where the rows of a data set come from: JSON-lines files of a folder, or a data set prepared by TFDS.

`data_dir` is a folder, or 'tfds:DIR' for what `python -m sweb_jax.tasks.tfds` prepared in DIR. Both give the same rows
in the same order. A folder may hold the files of one data set, or one folder for each: docs/data.md names them.
"""

from __future__ import annotations

import dataclasses
import itertools
from collections.abc import Sequence

from etils import epath

from sweb_jax.records import RecordError, read_json_lines
from sweb_jax.tasks import TaskError

TFDS = 'tfds:'
"""What a `data_dir` that TFDS prepared begins with."""

MAX_ROWS = 1_000_000
"""Rows of the longest file of problems; the public ones have up to 12,000."""


@dataclasses.dataclass(frozen=True)
class Rows:
  """The rows of one file or of one split, in their order."""

  place: str
  """The file, or the data set and its split."""
  rows: tuple[tuple[str, dict], ...]
  """Where a row stands, for error messages, and its fields."""


def read(data_dir: epath.PathLike, dataset: str, split: str, names: Sequence[str], source: str) -> Rows | None:
  """The rows of a split: of the first file of `names` that is there, or of TFDS; None where there is none.

  Args:
    data_dir: a folder, or 'tfds:DIR'.
    dataset: the data set, as its TFDS builder is called.
    split: the split of the TFDS data set.
    names: paths below the folder, without '.jsonl' or '.jsonl.gz'.
    source: what to do about it, at the end of every message.

  Raises:
    TaskError: no `data_dir`, or a file that cannot be read; the message names the file and the line.
  """
  if not data_dir:
    raise TaskError(f'{dataset} needs its files: {source}')
  if str(data_dir).startswith(TFDS):
    from sweb_jax.tasks import tfds

    folder = str(data_dir).removeprefix(TFDS)
    rows = tfds.rows(dataset, folder, split)
    place = f'{folder}/{dataset}, split {split}'
    return None if rows is None else Rows(place, tuple((f'{place}, row {i}', row) for i, row in enumerate(rows)))
  paths = (epath.Path(data_dir) / f'{name}.jsonl{ending}' for name in names for ending in ('', '.gz'))
  path = next((p for p in paths if p.exists()), None)
  return None if path is None else of_file(path, source)


def of_file(path: epath.Path, source: str) -> Rows:
  """The rows of one file, plain or gzipped. Raises TaskError, which names the line and ends in `source`."""
  try:
    rows = tuple((f'{path}, line {n}', row) for n, row in itertools.islice(read_json_lines(path), MAX_ROWS + 1))
  except RecordError as e:
    raise TaskError(f'{e}; {source}') from e
  if len(rows) > MAX_ROWS:
    raise TaskError(f'{path}: more than {MAX_ROWS:,} rows, which is no file of problems; {source}')
  return Rows(str(path), rows)


def require(data_dir: epath.PathLike, dataset: str, split: str, names: Sequence[str], source: str) -> Rows:
  """As `read`; a file or split that is not there is a TaskError too."""
  found = read(data_dir, dataset, split, names, source)
  if found is None:
    raise TaskError(f'{data_dir}: there is no {names[0]}.jsonl or {names[0]}.jsonl.gz; {source}')
  return found


def text(row: dict, field: str, where: str, source: str) -> str:
  """The text of a field. Raises TaskError where it is missing, empty or not a text."""
  value = row.get(field)
  if not isinstance(value, str) or not value.strip():
    raise TaskError(f"{where}: the field '{field}' is missing or not a text; {source}")
  return value
