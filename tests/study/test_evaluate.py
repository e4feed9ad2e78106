"""Scores without training: any models on any tasks, with intervals."""

from __future__ import annotations

import csv

import pytest

from sweb_jax import layout
from sweb_jax.study.runner import StageError


@pytest.mark.slow
def test_a_config_without_generators_evaluates_its_models_in_one_run(runs, tmp_path):
  root = tmp_path / 'workdir'
  easy = {'task': 'arithmetic', 'test': 6, 'levels': ('s1r0',)}
  config = runs.tiny(generators=(), budgets={}, learners=('wc', 'se'), evaluate__maj_k=(1, 2), transfer={'easy': easy})
  config.task.train = config.task.validation = 0
  config.train.steps = {}
  runs(root, config)
  with open(root / layout.TABLES / 'accuracy.csv') as f:
    rows = list(csv.DictReader(f))
  assert [(r['learner'], r['source'], r['n']) for r in rows] == [('wc', 'base', '10'), ('se', 'base', '10')]
  for row in rows:
    for figure in ('greedy pass@1', 'maj@2', 'pass@2'):
      assert float(row[f'{figure} low']) <= float(row[figure]) <= float(row[f'{figure} high'])
  with open(root / layout.TABLES / 'transfer.csv') as f:
    found = [(r['test set'], r['learner'], r['n']) for r in csv.DictReader(f)]
  assert found == [('easy', 'wc', '6'), ('easy', 'se', '6')]
  assert not (root / 'samples').exists() and not (root / layout.problems(0, 'train')).exists()


@pytest.mark.slow
def test_the_stage_evaluate_alone_scores_what_can_be_scored_and_says_what_waits(runs, tmp_path):
  root = tmp_path / 'workdir'
  said = runs(root, runs.tiny(), ('evaluate', 'report'))
  assert '2 steps wait for others' in ' '.join(said.split())
  assert (root / layout.scores(layout.TEST, 0, 'wc', 'base') / layout.MANIFEST).exists()
  assert not (root / layout.scores(layout.TEST, 0, 'wc', 'wc_low')).exists()
  with open(root / layout.TABLES / 'accuracy.csv') as f:
    assert [r['source'] for r in csv.DictReader(f)] == ['base']


@pytest.mark.slow
def test_a_stage_that_can_do_nothing_names_the_stage_that_is_missing(runs, tmp_path):
  with pytest.raises(StageError, match="add 'sample' to --stages"):
    runs(tmp_path / 'workdir', runs.tiny(), ('grade',))
