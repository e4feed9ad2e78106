"""Nothing is a result: an arm without examples is told of, and the rest of the study is done."""

from __future__ import annotations

import json

import pytest

from sweb_jax import analysis, layout


@pytest.mark.slow
def test_an_arm_that_kept_nothing_is_skipped_with_its_counts_and_all_else_is_done(runs, tmp_path):
  root = tmp_path / 'workdir'
  config = runs.tiny(gold=True, sampling__max_new_tokens=6)  # Every sample is cut.
  said = runs(root, config)
  counts = 'none of 36 samples is kept (36 wrong); 36 of 36 were cut at 6 tokens'
  assert f'{layout.examples(0, "wc_low")}: no data: {counts}' in ' '.join(said.split())
  for folder in (layout.model(0, 'wc', 'wc_low'), layout.scores(layout.TEST, 0, 'wc', 'wc_low')):
    manifest = json.loads((root / folder / layout.MANIFEST).read_text())
    assert manifest['done'] and counts in manifest['nothing']
  for run in ('base', 'gold'):
    manifest = json.loads((root / layout.scores(layout.TEST, 0, 'wc', run) / layout.MANIFEST).read_text())
    assert manifest['done'] and not manifest['nothing']
  page = (root / layout.INDEX).read_text()
  assert 'Without a result' in page and counts in page
  # Again: nothing to do, and the same is said.
  before = runs.listing(root)
  assert counts in ' '.join(runs(root, config).split())
  assert runs.listing(root) == before
  study = analysis.read_study(root)
  assert len(analysis.nothing(study, analysis.done(root, study))) == 2
  # Longer samples are another study of these arms; gold stays.
  runs(root, runs.tiny(gold=True, train__row_length=48), redo=True)
  assert json.loads((root / layout.model(0, 'wc', 'wc_low') / layout.MANIFEST).read_text())['nothing'] == ''


@pytest.mark.slow
def test_a_learner_whose_examples_are_all_too_long_has_no_model_and_says_so(runs, tmp_path):
  root = tmp_path / 'workdir'
  said = runs(root, runs.tiny(gold=True, train__row_length=18, train__too_long='leave_out'))
  assert 'examples are longer than config.train.row_length=18' in ' '.join(said.split())
  manifest = json.loads((root / layout.scores(layout.TEST, 0, 'wc', 'gold') / layout.MANIFEST).read_text())
  assert manifest['nothing'].startswith(f'{layout.model(0, "wc", "gold")}: all ')
