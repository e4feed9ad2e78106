"""Every config file is an experiment that can be planned, and those of embedded size can be run."""

from __future__ import annotations

import collections
import csv
import io
import json
import os
import runpy
from pathlib import Path

import pytest
from etils import epath
from ml_collections import ConfigDict
from rich.console import Console

from sweb_jax import analysis, layout
from sweb_jax.config import resolve, rules_of, validate
from sweb_jax.runtime.hosts import Hosts
from sweb_jax.study import command, opened

ROOT = Path(__file__).parents[1]
DATA = Path(os.environ.get('SWEB_TEST_DATA', ROOT.parent / 'shared/data'))
FILES = sorted(str(p.relative_to(ROOT)) for p in ROOT.glob('configs/**/*.py'))
PAPER = [f for f in FILES if '/paper/' in f]
GEMMA4 = [f for f in FILES if '/gemma4/' in f]
EMBEDDED = [f for f in FILES if '/embedded/' in f]
SAMPLED = ('plan', 'sample', 'grade')


def load(file: str, small: bool = False) -> ConfigDict:
  """A config with the data of the tests, resolved and validated; `small`: of the size of the grid's preset 'ci'."""
  config = runpy.run_path(str(ROOT / file))['get_config']()
  if small:
    config.presets = runpy.run_path(str(ROOT / 'configs/embedded/grid.py'))['get_config']().presets
    config.preset = 'ci'
  for test in (config, *config.transfer.values()):
    name = test.task if isinstance(test.task, str) else test.task.name
    if name == 'jsonl':
      pytest.skip('its files are the user\'s: tests/study/test_following.py plans it on some')
    if name != 'arithmetic':
      if not (DATA / name).exists():
        pytest.skip(f'needs the public data of {name}: set SWEB_TEST_DATA to a folder that has {name}/')
      test.data_dir = str(DATA / name)
  config = resolve(config, ())
  validate(config)
  return config


def dry_run(config: ConfigDict, folder: Path) -> str:
  shown = io.StringIO()
  command.plan(opened.open_study(config), epath.Path(folder / 'workdir'), Console(file=shown, width=400))
  assert not (folder / 'workdir').exists()
  return shown.getvalue()


@pytest.mark.parametrize('file', [*PAPER, *GEMMA4, *EMBEDDED])
def test_every_experiment_can_be_planned(file, tmp_path):
  config = load(file)
  shown = dry_run(config, tmp_path)
  arms = {f'{g}_{b}' for g in config.generators for b in config.budgets}
  assert all(f'{arm} (' in shown for arm in arms)
  assert all(name in shown for name in (*config.policies, *config.variants))
  assert all(isinstance(s, str) and s.startswith(('size:', 'embedded:')) for s in config.models.values())


@pytest.mark.parametrize('file', PAPER)
def test_a_paper_config_has_the_papers_recipe(file):
  config = resolve(runpy.run_path(str(ROOT / file))['get_config'](), ())
  batches = {m: config.train.batches.get(m, config.train.batch) for m in config.learners}
  assert batches == {m: {'student': 8, 'wc': 32, 'se': 32}[m] for m in config.learners}
  assert config.train.learning_rates == (1e-7, 5e-7, 1e-6) and config.train.checkpoints == 10
  assert config.sampling.temperature == 0.7 and config.sampling.few_shot


@pytest.mark.parametrize('file', EMBEDDED)
def test_an_embedded_experiment_draws_and_grades_in_its_small_form(file, tmp_path):
  config = load(file, small=True)
  root = epath.Path(tmp_path / 'workdir')
  command.run(opened.open_study(config), root, Hosts(), SAMPLED, Console(file=io.StringIO()))
  for arm in analysis.read_study(root).arms:
    if arm.budget and arm.round == 1:
      examples = root / layout.examples(0, arm.name) / layout.EXAMPLES
      kept = [json.loads(line)['problem_id'] for line in examples.read_text().splitlines()]
      assert kept, f'{arm.name} keeps nothing'
      most = rules_of(config, arm.variant)['max_per_problem']
      assert not most or max(collections.Counter(kept).values()) <= most


@pytest.fixture(scope='module')
def grid(command, tmp_path_factory):
  workdir = tmp_path_factory.mktemp('grid') / 'workdir'
  flags = ('--config.preset=ci', '--config.train.batches.student=4')
  run = command(workdir, *flags, config='configs/embedded/grid.py', small=False)
  assert run.returncode == 0, run.stderr
  return workdir


@pytest.mark.slow
def test_the_grid_ends_in_its_tables(grid):
  rows = list(csv.DictReader((grid / 'report/tables/accuracy.csv').open()))
  sources = ['base', 'wc_high', 'se_high', 'wc_low', 'se_low', 'mix_high', 'mix_low', 'gold']
  assert {(r['learner'], r['source']) for r in rows} == {(m, s) for m in ('student', 'wc') for s in sources}


def test_a_learner_with_a_smaller_batch_takes_more_steps(grid):
  for learner, steps in (('student', 8), ('wc', 4)):
    metrics = grid / layout.model(0, learner, 'gold') / 'rate_0.0025/metrics.jsonl'
    assert len(metrics.read_text().splitlines()) == steps


def test_seeds_share_the_data_and_differ_in_training(grid):
  study = analysis.read_study(grid)
  assert study.seeds == 2
  for kind in ('samples', 'verdicts', 'allocations', 'examples'):
    assert not list(grid.glob(f'{kind}/**/*.seed1*'))
  scores = epath.Path(grid / layout.scores(layout.TEST, 0, 'wc', 'base'))
  assert [p.name for p in scores.parent.glob('base*')] == ['base']
  differ = []
  for name in (a.name for a in study.arms):
    first, second = (grid / layout.model(0, 'wc', run) for run in (name, f'{name}.seed1'))
    one, two = (json.loads((f / layout.SELECTION).read_text()) for f in (first, second))
    assert all(one[field] == two[field] for field in ('examples', 'problems', 'tokens'))
    rows = ((f / 'rate_0.0025/metrics.jsonl').read_text().splitlines() for f in (first, second))
    losses = [[json.loads(row)['loss'] for row in lines] for lines in rows]
    differ.append(losses[0] != losses[1])
    assert list((grid / layout.scores(layout.TEST, 0, 'wc', f'{name}.seed1')).rglob(layout.VERDICTS))
  assert all(differ)


def test_the_plan_counts_seeds_where_they_cost(grid):
  steps = analysis.read_study(grid).steps
  works = [work for step in steps for work in step.work]
  count = {kind: sum(w['kind'] == kind for w in works) for kind in ('sample', 'train', 'validate', 'evaluate')}
  assert count == {'sample': 2, 'train': 2 * 7 * 2, 'validate': 2 * 7 * 2, 'evaluate': 2 * (1 + 7 * 2)}
  trained = {str(p.parent.relative_to(grid)) for p in grid.glob(f'models/*/*/*/{layout.SELECTION}')}
  assert {s.folder for s in steps if s.kind == 'models'} == trained
