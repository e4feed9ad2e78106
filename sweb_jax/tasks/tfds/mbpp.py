"""MBPP for TFDS."""

from __future__ import annotations

import numpy as np
import tensorflow_datasets as tfds

from sweb_jax.tasks.tfds import source_files

_COMMIT = 'https://raw.githubusercontent.com/google-research/google-research/2251e8c67a7fe7d6348714967ee101080b28e956'
URL = f'{_COMMIT}/mbpp/mbpp.jsonl'
SPLITS = {'prompt': range(1, 11), 'test': range(11, 511), 'validation': range(511, 601), 'train': range(601, 975)}
"""Splits of the authors, by `task_id`."""


class Mbpp(tfds.core.GeneratorBasedBuilder, skip_registration=True):
  """Splits 'prompt' (10 rows), 'test' (500), 'validation' (90) and 'train' (374)."""

  name = 'mbpp'
  VERSION = tfds.core.Version('1.0.0')
  MANUAL_DOWNLOAD_INSTRUCTIONS = """
  mbpp.jsonl of github.com/google-research/google-research, mbpp, plain or .gz, in the folder or in mbpp in it. It is
  downloaded where it is not there.
  """

  def _info(self) -> tfds.core.DatasetInfo:
    text = tfds.features.Text()
    texts = tfds.features.Sequence(tfds.features.Text())
    return tfds.core.DatasetInfo(
      builder=self,
      description='Small Python programs with their tests (arXiv 2108.07732).',
      features=tfds.features.FeaturesDict(
        {'task_id': np.int64, 'text': text, 'code': text, 'test_setup_code': text}
        | {'test_list': texts, 'challenge_test_list': texts}
      ),
      homepage='https://github.com/google-research/google-research/tree/master/mbpp',
      disable_shuffling=True,
    )

  def _split_generators(self, dl_manager):
    path = source_files.locate(dl_manager, ('mbpp', 'mbpp/mbpp'), URL)
    return {split: self._generate_examples(path, ids) for split, ids in SPLITS.items()}

  def _generate_examples(self, path, ids):
    for i, row in enumerate(source_files.rows(path, tuple(self.info.features))):
      if row['task_id'] in ids:
        yield i, row
