"""SVAMP for TFDS."""

from __future__ import annotations

import json

import tensorflow_datasets as tfds

from sweb_jax.tasks.tfds import source_files

_COMMIT = 'https://raw.githubusercontent.com/ZubinGou/math-evaluation-harness/db77bc6bb2a17c90ed2d63e88ebd8c40a82858c5'
URL = f'{_COMMIT}/data/svamp/test.jsonl'


class Svamp(tfds.core.GeneratorBasedBuilder, skip_registration=True):
  """Split 'test' (1,000 rows). `Answer` is the number as JSON writes it: TFDS would keep it in 32 bits."""

  name = 'svamp'
  VERSION = tfds.core.Version('1.0.0')
  MANUAL_DOWNLOAD_INSTRUCTIONS = """
  test.jsonl of github.com/ZubinGou/math-evaluation-harness, data/svamp, plain or .gz, in the folder svamp or by itself.
  It is downloaded where it is not there.
  """

  def _info(self) -> tfds.core.DatasetInfo:
    fields = ('ID', 'Body', 'Question', 'Answer', 'Type', 'Equation')
    return tfds.core.DatasetInfo(
      builder=self,
      description='Word problems of one step, varied to show shallow reading (arXiv 2103.07191).',
      features=tfds.features.FeaturesDict({f: tfds.features.Text() for f in fields}),
      homepage='https://github.com/arkilpatel/SVAMP',
      disable_shuffling=True,
    )

  def _split_generators(self, dl_manager):
    return {'test': self._generate_examples(source_files.locate(dl_manager, ('svamp/test', 'test'), URL))}

  def _generate_examples(self, path):
    rows = source_files.rows(path, ('ID', 'Body', 'Question', 'Answer'), {'Type': '', 'Equation': ''})
    for i, row in enumerate(rows):
      yield i, row | {'Answer': json.dumps(row['Answer'])}
