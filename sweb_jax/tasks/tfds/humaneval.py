"""HumanEval for TFDS."""

from __future__ import annotations

import tensorflow_datasets as tfds

from sweb_jax.tasks.tfds import source_files

_COMMIT = 'https://raw.githubusercontent.com/openai/human-eval/6d43fb980f9fee3c892a914eda09951f772ad10d'
URL = f'{_COMMIT}/data/HumanEval.jsonl.gz'


class Humaneval(tfds.core.GeneratorBasedBuilder, skip_registration=True):
  """Split 'test' (164 rows)."""

  name = 'humaneval'
  VERSION = tfds.core.Version('1.0.0')
  MANUAL_DOWNLOAD_INSTRUCTIONS = """
  HumanEval.jsonl of github.com/openai/human-eval, data, plain or .gz, in the folder or in humaneval in it. It is
  downloaded where it is not there.
  """

  def _info(self) -> tfds.core.DatasetInfo:
    fields = ('task_id', 'prompt', 'canonical_solution', 'test', 'entry_point')
    return tfds.core.DatasetInfo(
      builder=self,
      description='Python functions to complete, with their tests (arXiv 2107.03374).',
      features=tfds.features.FeaturesDict({f: tfds.features.Text() for f in fields}),
      homepage='https://github.com/openai/human-eval',
      disable_shuffling=True,
    )

  def _split_generators(self, dl_manager):
    names = ('HumanEval', 'humaneval/HumanEval')
    return {'test': self._generate_examples(source_files.locate(dl_manager, names, URL))}

  def _generate_examples(self, path):
    yield from enumerate(source_files.rows(path, tuple(self.info.features)))
