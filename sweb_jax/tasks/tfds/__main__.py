"""Prepares public data sets as TFDS keeps them.

    python -m sweb_jax.tasks.tfds --dataset=gsm8k --data_dir=DIR
    python -m sweb_jax.tasks.tfds --dataset=math --manual_dir=FILES --data_dir=DIR
"""

from __future__ import annotations

from absl import app, flags

from sweb_jax.runtime import terminal
from sweb_jax.tasks import TaskError, tfds

_DATASETS = flags.DEFINE_list('dataset', [], f'What to prepare, separated by commas: {", ".join(tfds.DATASETS)}.')
_DATA_DIR = flags.DEFINE_string('data_dir', None, 'Folder that prepared data sets are kept in.')
_MANUAL_DIR = flags.DEFINE_string('manual_dir', '', 'Folder of files you have; what is not in it is downloaded.')


def main(argv: list[str]) -> None:
  """Prepares each data set named and prints its folder and the rows of its splits."""
  if len(argv) > 1 or not _DATASETS.value or not _DATA_DIR.value:
    raise app.UsageError('--dataset and --data_dir are needed, and nothing but flags')
  for dataset in _DATASETS.value:
    try:
      folder = tfds.prepare(dataset, _DATA_DIR.value, _MANUAL_DIR.value)
      splits = tfds.builder(dataset, _DATA_DIR.value).info.splits
    except TaskError as e:
      raise SystemExit(f'{dataset}: {e}') from e
    print(f'{folder}: {", ".join(f"{name} {split.num_examples:,}" for name, split in splits.items())}')


if __name__ == '__main__':
  terminal.start(main)
