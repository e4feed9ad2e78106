"""A whole study of two Gemma 4 by the ordinary command: a mixture of experts as WC, a dense one with tables as SE."""

from __future__ import annotations

import csv
import dataclasses
import json
import pathlib
import runpy

import jax
import numpy as np
import pytest

from sweb_jax import layout, records
from sweb_jax.models import sharding
from sweb_jax.models.source import open_model, save_model
from sweb_jax.records import Sample, Verdict

pytestmark = [pytest.mark.gemma4, pytest.mark.slow]
SMALL = runpy.run_path(str(pathlib.Path(__file__).parents[1] / 'models/gemma4/small.py'))['SMALL']
KINDS = {'wc': 'experts', 'se': 'by_layer'}
RATE = 0.0025


@pytest.fixture(scope='module')
def models(tmp_path_factory) -> dict[str, str]:
  """Folders of fresh models, with the vocabulary of the embedded ones."""
  root, tokenizer = tmp_path_factory.mktemp('models'), open_model('embedded:se').tokenizer
  for number, (name, kind) in enumerate(KINDS.items()):
    config = dataclasses.replace(SMALL[kind], vocab_size=tokenizer.vocab_size)
    save_model(root / name, config, config.init(jax.random.key(number)), tokenizer)
  return {name: str(root / name) for name in KINDS}


@pytest.fixture(scope='module')
def study(command, models, tmp_path_factory) -> pathlib.Path:
  """Its workdir. Fresh models solve nothing, so every solution is kept."""
  root = tmp_path_factory.mktemp('gemma4') / 'workdir'
  done = command(
    root,
    *(f'--config.models.{name}={path}' for name, path in models.items()),
    f'--config.models.student={models["wc"]}',
    '--config.implementation=gemma',
    "--config.learners=('se',)",  # Beside WC.
    '--config.data.filter=none',
    "--config.budgets={'low': {'se': 1}}",
    '--config.train.steps.low=8',
    '--config.gold=False',
    '--config.engine.jobs=1',
    seconds=900,
    JAX_DISABLE_MOST_OPTIMIZATIONS='1',
  )
  assert done.returncode == 0, done.stderr
  return root


def test_either_draws_and_every_sample_is_graded(study):
  for name in KINDS:
    samples = [s for p in (study / layout.samples(0, name)).glob(layout.CHUNKS) for s in records.read(Sample, p)]
    verdicts = list(records.read(Verdict, *(study / layout.verdicts(0, name)).glob(layout.VERDICTS)))
    assert {(s.problem_id, s.index) for s in samples} == {(v.problem_id, v.index) for v in verdicts}
    assert len({s.tokens for s in samples}) > 20


@pytest.mark.parametrize('learner', KINDS)
@pytest.mark.parametrize('source', ['wc_low', 'se_low'])
def test_either_learns_from_what_either_drew(study, models, learner, source):
  folder, mesh = study / layout.model(0, learner, source) / layout.rate(RATE), sharding.make_mesh()
  losses = [row['loss'] for row in map(json.loads, (folder / layout.METRICS).read_text().splitlines())]
  assert losses[-1] < losses[0]
  before, after = open_model(models[learner]), open_model(str(folder / layout.BEST))
  assert after.config == before.config
  for (path, old), new in zip(
    jax.tree.leaves_with_path(before.load(mesh)), jax.tree.leaves(after.load(mesh)), strict=True
  ):
    idle = before.config.leaves['/'.join(k.key for k in path)].kind == 'idle'
    assert idle or not np.array_equal(old, new), path


def test_the_report_compares_them(study):
  rows = list(csv.DictReader((study / layout.TABLES / 'models.csv').open()))
  assert {row['model']: row['implementation'] for row in rows} == dict.fromkeys(KINDS, 'gemma')
  rows = list(csv.DictReader((study / layout.TABLES / 'accuracy.csv').open()))
  compared = {(learner, source) for learner in KINDS for source in ('base', 'wc_low', 'se_low')}
  assert compared <= {(row['learner'], row['source']) for row in rows}
