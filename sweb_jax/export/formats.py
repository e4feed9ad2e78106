"""The forms a data set goes out in, each with its reader: what is written is read back and compared."""

from __future__ import annotations

import contextlib
import hashlib
import io
import json
import typing
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

import numpy as np
from etils import epath

from sweb_jax import records
from sweb_jax.export import rows as rows_lib
from sweb_jax.export.rows import ExportError, Row
from sweb_jax.runtime import files

FORMATS = ('prompt_completion', 'messages', 'parquet', 'tfds', 'pairs')
"""JSON lines of prompt and completion; of chat messages; Parquet and TFDS with the columns of the first; JSON lines of
prompt, chosen and rejected."""

SPLIT = 'train'
NAME = 'sweb_jax_export'
"""Of the data set in TFDS."""
VERSION = '1.0.0'


def shaped(rows: Sequence[Row], form: str) -> list[dict[str, Any]]:
  """The rows as a form has them. Raises ExportError where no problem has a right and a wrong sample to pair."""
  if form == 'pairs':
    found = rows_lib.pairs(rows)
    if not found:
      raise ExportError('--format=pairs: no problem has a right and a wrong sample that both ended by themselves')
    return found
  if form != 'messages':
    return [vars(row) | {'completion': row.following} for row in rows]
  return [
    {'messages': [{'role': 'user', 'content': row.prompt}, {'role': 'assistant', 'content': row.completion}]}
    | {name: value for name, value in vars(row).items() if name not in ('prompt', 'completion')}
    for row in rows
  ]


def file_name(form: str) -> str:
  """The name of the one file of a form; '' where TFDS names them."""
  return {'parquet': f'{SPLIT}.parquet', 'tfds': ''}.get(form, f'{SPLIT}.jsonl')


def write(folder: epath.Path, rows: Sequence[Mapping[str, Any]], form: str) -> None:
  """Writes `shaped` rows into a folder that is there."""
  if form == 'parquet':
    import pyarrow as pa
    import pyarrow.parquet as pq

    kinds = {str: pa.string(), int: pa.int64(), bool: pa.bool_(), float: pa.float64()}
    schema = pa.schema([(name, kinds[kind]) for name, (kind, _) in _columns().items()])
    pq.write_table(pa.Table.from_pylist(list(rows), schema), str(folder / file_name(form)), compression='zstd')
  elif form == 'tfds':
    _write_tfds(folder, rows)
  else:
    text = ''.join(json.dumps(row, ensure_ascii=False) + '\n' for row in rows)
    files.write_text(folder / file_name(form), text)


def read(folder: epath.Path, form: str) -> list[dict[str, Any]]:
  """The rows of what `write` wrote."""
  if form == 'parquet':
    import pyarrow.parquet as pq

    return pq.read_table(str(folder / file_name(form))).to_pylist()
  if form == 'tfds':
    import tensorflow_datasets as tfds

    source = tfds.builder_from_directory(str(folder)).as_data_source(SPLIT)
    return [{name: _plain(value) for name, value in source[i].items()} for i in range(len(source))]
  return [row for _, row in records.read_json_lines(folder / file_name(form))]


def digest(rows: Iterable[Mapping[str, Any]], form: str) -> str:
  """SHA-256 of the rows in their order, whatever the order of their columns. Floats in TFDS are of single precision."""
  found = hashlib.sha256()
  for row in rows:
    if form == 'tfds':
      row = {name: float(np.float32(x)) if isinstance(x, float) else x for name, x in row.items()}
    found.update(json.dumps(row, sort_keys=True).encode() + b'\n')
  return found.hexdigest()


def _columns() -> dict[str, tuple[type, bool]]:
  """Column -> type of its values, and whether they may be None."""
  found = {}
  for name, hint in typing.get_type_hints(Row).items():
    kinds = typing.get_args(hint) or (hint,)
    found[name] = kinds[0], type(None) in kinds
  return found


def _write_tfds(folder: epath.Path, rows: Sequence[Mapping[str, Any]]) -> None:
  import tensorflow_datasets as tfds

  kinds = {str: np.str_, int: np.int64, bool: np.bool_, float: np.float32}

  def feature(kind: type, optional: bool):
    return tfds.features.Scalar(kinds[kind], optional=True) if optional else tfds.features.Scalar(kinds[kind])

  class Builder(tfds.core.GeneratorBasedBuilder, skip_registration=True):
    name = NAME
    VERSION = tfds.core.Version(VERSION)

    def _info(self):
      features = {column: feature(*kind) for column, kind in _columns().items()}
      return tfds.core.DatasetInfo(
        builder=self,
        description='Solutions and where they come from; README.md has the rest.',
        features=tfds.features.FeaturesDict(features),
        disable_shuffling=True,
      )

    def _split_generators(self, dl_manager):
      return {SPLIT: self._generate_examples()}

    def _generate_examples(self):
      yield from enumerate(rows)

  made = folder / 'made'
  builder = Builder(data_dir=str(made), file_format='array_record')
  tfds.disable_progress_bar()
  with contextlib.redirect_stdout(io.StringIO()):  # It tells of a download, and there is none.
    builder.download_and_prepare()
  for path in epath.Path(builder.data_path).iterdir():
    path.rename(folder / path.name)
  made.rmtree()


def _plain(value: Any) -> Any:
  """Text where TFDS gives bytes, numbers of Python where it gives those of NumPy."""
  if isinstance(value, bytes):
    return value.decode()
  return value.item() if hasattr(value, 'item') else value
