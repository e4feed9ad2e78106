"""The public data sets as TFDS builders, in files of the format `array_record`; TensorFlow is never imported.

    python -m sweb_jax.tasks.tfds --dataset=math --manual_dir=FILES --data_dir=DIR

prepares one from files the user has, or downloads them where their address is known. `--config.data_dir=tfds:DIR` then
reads it. docs/data.md names the files.
"""

from __future__ import annotations

import importlib

from etils import epath

from sweb_jax.tasks import TaskError

# Modules of this package and the class in each; imported when asked for, since TFDS takes half a second to import.
_BUILDERS = {
  'functional_math': 'FunctionalMath',
  'gsm8k': 'Gsm8k',
  'humaneval': 'Humaneval',
  'math': 'Math',
  'mbpp': 'Mbpp',
  'svamp': 'Svamp',
}
DATASETS = tuple(_BUILDERS)


def builder(dataset: str, data_dir: epath.PathLike):
  """The `tfds.core.GeneratorBasedBuilder` of a data set. Raises TaskError for an unknown one."""
  if dataset not in _BUILDERS:
    raise TaskError(f'dataset={dataset!r} has no TFDS builder; there are {", ".join(DATASETS)}')
  module = importlib.import_module(f'{__name__}.{dataset}')
  return getattr(module, _BUILDERS[dataset])(data_dir=str(data_dir), file_format='array_record')


def prepare(dataset: str, data_dir: epath.PathLike, manual_dir: epath.PathLike = '') -> str:
  """Prepares a data set in `data_dir` unless it is there, and returns its folder.

  Args:
    dataset: one of `DATASETS`.
    data_dir: where prepared data sets are kept.
    manual_dir: folder of files that the user has; those that are not in it are downloaded.

  Raises:
    TaskError: a file is neither there nor can be downloaded, or cannot be read.
  """
  import tensorflow_datasets as tfds

  made = builder(dataset, data_dir)
  if manual_dir and not epath.Path(manual_dir).is_dir():
    raise TaskError(f'--manual_dir={manual_dir}: there is no such folder')
  config = tfds.download.DownloadConfig(manual_dir=str(manual_dir) if manual_dir else None)
  made.download_and_prepare(download_config=config)
  return str(made.data_path)


def rows(dataset: str, data_dir: epath.PathLike, split: str) -> list[dict] | None:
  """The rows of a prepared split in the order of the file they came from; None where it has no such split.

  Raises TaskError where the data set was not prepared in `data_dir`.
  """
  made = builder(dataset, data_dir)
  if not made.info.splits:
    raise TaskError(
      f'{data_dir} holds no prepared {dataset} {made.version}; prepare it with '
      f'python -m sweb_jax.tasks.tfds --dataset={dataset} --manual_dir=FILES --data_dir={data_dir}'
    )
  if split not in made.info.splits:
    return None
  source = made.as_data_source(split=split)
  return [_plain(source[i]) for i in range(len(source))]


def _plain(value):
  """Text where TFDS gives bytes, lists where it gives arrays or sequences."""
  if isinstance(value, bytes):
    return value.decode()
  if isinstance(value, dict):
    return {k: _plain(v) for k, v in value.items()}
  if hasattr(value, 'tolist'):
    return _plain(value.tolist())
  return [_plain(v) for v in value] if isinstance(value, list | tuple) else value
