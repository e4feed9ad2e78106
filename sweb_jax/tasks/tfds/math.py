"""MATH for TFDS."""

from __future__ import annotations

import json
from collections.abc import Iterator

import tensorflow_datasets as tfds
from etils import epath

from sweb_jax.tasks import TaskError
from sweb_jax.tasks.tfds import source_files

NAMES = {
  'train': ('train', 'math/train'),
  'math500': ('math500', 'math500/test', '../math500/test'),
  'test': ('test', 'math/test'),
}


class Math(tfds.core.GeneratorBasedBuilder, skip_registration=True):
  """Splits 'train' (7,500 rows), 'math500' (500) and 'test' (5,000); the last two where their files are there."""

  name = 'math'
  VERSION = tfds.core.Version('1.0.0')
  MANUAL_DOWNLOAD_INSTRUCTIONS = """
  train.jsonl, one object a line with the fields id ('train/algebra/943'), problem, level, type and solution, in the
  folder or in math in it; or the unpacked archive of its authors, MATH/train/algebra/943.json. MATH-500 as
  math500.jsonl or math500/test.jsonl (github.com/openai/prm800k, prm800k/math_splits/test.jsonl). The 5,000 test
  problems, test.jsonl or MATH/test, are optional. JSON lines are plain or .gz.
  """

  def _info(self) -> tfds.core.DatasetInfo:
    fields = ('id', 'problem', 'level', 'type', 'solution')
    return tfds.core.DatasetInfo(
      builder=self,
      description='Competition problems of five levels (arXiv 2103.03874), and MATH-500 (arXiv 2305.20050).',
      features=tfds.features.FeaturesDict({f: tfds.features.Text() for f in fields}),
      homepage='https://github.com/hendrycks/math',
      disable_shuffling=True,
    )

  def _split_generators(self, dl_manager):
    folder = source_files.manual_dir(dl_manager)
    found = {}
    for split, names in NAMES.items():
      path = source_files.locate(dl_manager, names)
      if path is None and folder is not None and (folder / 'MATH' / split).is_dir():
        path = folder / 'MATH' / split
      if path is not None:
        found[split] = self._generate_examples(path)
    for need in ({'train'}, {'math500', 'test'}):
      if not need & found.keys():
        raise source_files.missing(NAMES[min(need)], self.MANUAL_DOWNLOAD_INSTRUCTIONS)
    return found

  def _generate_examples(self, path):
    rows = _archive(path) if path.is_dir() else source_files.rows(path, ('problem', 'level', 'solution'), _OTHER)
    for i, row in enumerate(rows):
      level = row['level']
      yield i, {
        'id': row['id'] or row['unique_id'],
        'problem': row['problem'],
        'level': f'Level {level}' if isinstance(level, int) else level,
        'type': row['type'] or row['subject'],
        'solution': row['solution'],
      }


_OTHER = {'id': '', 'unique_id': '', 'type': '', 'subject': ''}  # MATH-500 has its own names for two fields.


def _archive(folder: epath.Path) -> Iterator[dict]:
  """The rows of '<subject>/<number>.json' files, by subject and number."""
  files = [(p.parent.name, int(p.stem), p) for p in folder.glob('*/*.json') if p.stem.isdigit()]
  for subject, number, path in sorted(files):
    try:
      row = _OTHER | json.loads(path.read_text())
    except ValueError as e:
      raise TaskError(f'{path}: not JSON: {e}') from e
    if absent := [f for f in ('problem', 'level', 'solution') if f not in row]:
      raise TaskError(f"{path}: the field '{absent[0]}' is missing")
    yield row | {'id': f'{folder.name}/{subject}/{number}'}
