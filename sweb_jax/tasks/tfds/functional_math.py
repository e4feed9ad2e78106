"""Functional MATH for TFDS."""

from __future__ import annotations

import tensorflow_datasets as tfds

from sweb_jax.tasks.tfds import source_files

NAMES = ('Oct-2023', 'functional_math/Oct-2023')


class FunctionalMath(tfds.core.GeneratorBasedBuilder, skip_registration=True):
  """Split 'test' (1,745 rows), from a file of the user's; no public address is known that gives it in this form."""

  name = 'functional_math'
  VERSION = tfds.core.Version('1.0.0')
  MANUAL_DOWNLOAD_INSTRUCTIONS = """
  Oct-2023.jsonl, plain or .gz, in the folder or in functional_math in it: the problems of Oct-2023.tar.gz of
  github.com/ConsequentAI/fneval, one object a line with the fields id ('test/algebra/6', the MATH problem it was made
  from), problem, level, type and solution (the boxed answer).
  """

  def _info(self) -> tfds.core.DatasetInfo:
    fields = ('id', 'problem', 'level', 'type', 'solution')
    return tfds.core.DatasetInfo(
      builder=self,
      description='Test problems of MATH with other numbers (arXiv 2402.19450), snapshot of October 2023.',
      features=tfds.features.FeaturesDict({f: tfds.features.Text() for f in fields}),
      homepage='https://github.com/ConsequentAI/fneval',
      disable_shuffling=True,
    )

  def _split_generators(self, dl_manager):
    path = source_files.locate(dl_manager, NAMES)
    if path is None:
      raise source_files.missing(NAMES, self.MANUAL_DOWNLOAD_INSTRUCTIONS)
    return {'test': self._generate_examples(path)}

  def _generate_examples(self, path):
    yield from enumerate(source_files.rows(path, ('id', 'problem', 'solution'), {'level': '', 'type': ''}))
