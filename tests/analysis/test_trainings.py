"""Loss, validation accuracy and cost of trainings, from their files."""

from __future__ import annotations

import json

import pytest
from etils import epath

from sweb_jax import analysis, layout
from sweb_jax.analysis import AnalysisError, trainings
from sweb_jax.runtime import files


@pytest.fixture
def root(make_workdir):
  """wc_low is trained at two learning rates in either set, the better with losses 3, 2, 1 and 5, 4, 3."""
  root = epath.Path(make_workdir())
  for s in (0, 1):
    folder = root / layout.model(s, 'student', 'wc_low')
    for rate, start in ((0.0025, 3 + 2 * s), (0.01, 9)):
      rows = [{'step': i + 1, 'loss': start - i, 'tokens': 10, 'time': 0.0} for i in range(3)]
      text = ''.join(json.dumps(row) + '\n' for row in rows)
      files.write_text(folder / layout.rate(rate) / layout.METRICS, text)
    scores = [(0.0025, 2, 0.25), (0.0025, 3, 0.5 + s / 4), (0.01, 3, 0.0)]
    chosen = files.read_json(folder / layout.SELECTION)
    validation = [{'learning_rate': r, 'step': step, 'accuracy': a} for r, step, a in scores]
    files.write_json(folder / layout.SELECTION, chosen | {'validation': validation})
  return root


def test_curves_are_means_at_the_chosen_learning_rate(root):
  results = analysis.read(root)
  rows = [r[3:] for r in trainings.curves(results, trainings.read(root, results)).rows if r[1] == 'wc_low']
  assert rows == [
    ('loss', 1, 4, 2), ('loss', 2, 3, 2), ('loss', 3, 2, 2),
    ('validation accuracy', 2, 0.25, 2), ('validation accuracy', 3, 0.625, 2),
  ]  # fmt: skip


def test_long_curves_are_means_of_the_steps_between_their_points():
  steps = 10 * trainings.POINTS
  found = list(trainings._means([(i, float(i)) for i in range(1, steps + 1)], trainings.POINTS))
  assert len(found) == trainings.POINTS
  assert found[0] == (10, 5.5, 10) and found[-1] == (steps, steps - 4.5, 10)


def test_accuracy_stands_beside_the_cost_of_data_and_training_together(root):
  results = analysis.read(root)
  accuracy = next(t for t in analysis.write(root) if t.name == 'accuracy')
  table, columns = trainings.costs(results, accuracy, trainings.read(root, results))
  (row,) = [dict(zip(table.columns, r, strict=True)) for r in table.rows if r[1] == 'wc_low']
  # Sampling: 2 x 10 parameters, 10 tokens in set 0 and 8 in set 1; training: 6 x 15 x 60 tokens at both rates.
  assert row['sampling, FLOPs'] == 20 * (9 + 8) / 2
  assert row['training, FLOPs'] == 6 * 15 * 60
  assert row['sampling and training, FLOPs'] == row['sampling, FLOPs'] + row['training, FLOPs']
  assert columns == ('sampling and training, FLOPs',)
  assert row['greedy pass@1'] == 0.625
  # The other trainings of this workdir have left no record of their steps: nothing is made up.
  assert {r[1] for r in table.rows} == {'wc_low'}


def test_a_torn_record_is_named(root):
  path = root / layout.model(1, 'student', 'wc_low') / layout.rate(0.01) / layout.METRICS
  path.write_text(path.read_text()[:-9])
  with pytest.raises(AnalysisError, match=r'set1/student/wc_low: the record of a training .*metrics\.jsonl, line 3'):
    trainings.read(root, analysis.read(root))
