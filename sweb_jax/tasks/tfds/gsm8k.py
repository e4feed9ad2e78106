"""GSM8K for TFDS."""

from __future__ import annotations

import tensorflow_datasets as tfds

from sweb_jax.tasks.tfds import source_files

_COMMIT = 'https://raw.githubusercontent.com/openai/grade-school-math/3101c7d5072418e28b9008a6636bde82a006892c'
URLS = {split: f'{_COMMIT}/grade_school_math/data/{split}.jsonl' for split in ('train', 'test')}


class Gsm8k(tfds.core.GeneratorBasedBuilder, skip_registration=True):
  """Splits 'train' (7,473 rows) and 'test' (1,319), in the order of the files."""

  name = 'gsm8k'
  VERSION = tfds.core.Version('1.0.0')
  MANUAL_DOWNLOAD_INSTRUCTIONS = """
  train.jsonl and test.jsonl of github.com/openai/grade-school-math, grade_school_math/data, plain or .gz, in the folder
  or in gsm8k in it. They are downloaded where they are not there.
  """

  def _info(self) -> tfds.core.DatasetInfo:
    return tfds.core.DatasetInfo(
      builder=self,
      description='Grade-school word problems with a whole number as answer (arXiv 2110.14168).',
      features=tfds.features.FeaturesDict({'question': tfds.features.Text(), 'answer': tfds.features.Text()}),
      homepage='https://github.com/openai/grade-school-math',
      disable_shuffling=True,
    )

  def _split_generators(self, dl_manager):
    return {
      split: self._generate_examples(source_files.locate(dl_manager, (split, f'gsm8k/{split}'), url))
      for split, url in URLS.items()
    }

  def _generate_examples(self, path):
    yield from enumerate(source_files.rows(path, ('question', 'answer')))
