"""Further test sets: refused before any compute, or asked exactly like the study's own."""

from __future__ import annotations

import importlib.util
import json
import os
import types
from pathlib import Path

import pytest
from ml_collections import ConfigDict
from sweb_jax.jobs import Jobs
from sweb_jax.transfer import TestSet

from sweb_jax import records
from sweb_jax.config import ConfigError, resolve, validate
from sweb_jax.records import Problem, Verdict
from sweb_jax.study import Study

DATA = Path(os.environ.get('SWEB_TEST_DATA', Path(__file__).parents[1] / '../shared/data'))
METER = types.SimpleNamespace(skip=lambda *_, **__: None, add=lambda *_, **__: None)


def configured(**tests) -> ConfigDict:
  path = Path(__file__).parents[1] / 'configs/quickstart.py'
  spec = importlib.util.spec_from_file_location('quickstart', path)
  module = importlib.util.module_from_spec(spec)
  spec.loader.exec_module(module)
  config = resolve(module.get_config(), ())
  config.task.update({'train': 4, 'validation': 2, 'test': 6})
  config.engine.slots = 8
  with config.ignore_type():
    config.transfer = tests
  return config


@pytest.mark.parametrize(
  ('tests', 'message'),
  [
    ({'new': 3}, r'config\.transfer\.new=3: give'),
    ({'new set': {'task': 'svamp', 'test': 3}}, r"config\.transfer='new set': a name is"),
    ({'new': {'test': 3}}, r"config\.transfer\.new=\['test'\]: its fields are"),
    ({'new': {'task': 'svamp', 'test': 3, 'world': 1}}, r'config\.transfer\.new=.*its fields are'),
    ({'new': {'task': 'svamp', 'test': 0}}, r'config\.transfer\.new\.test=0: must be a positive whole number'),
  ],
)
def test_a_test_set_that_makes_no_sense_is_refused(tests, message):
  with pytest.raises(ConfigError, match=message):
    validate(configured(**tests))


@pytest.mark.parametrize(
  ('test', 'message'),
  [
    ({'task': 'riddles', 'test': 3}, r"config\.transfer\.new\.task='riddles' is not a task"),
    ({'task': 'arithmetic', 'test': 3, 'levels': ('s9',)}, r"config\.transfer\.new\.levels names \['s9'\]; levels are"),
    ({'task': 'humaneval', 'test': 3, 'data_dir': '/nowhere'}, r'config\.transfer\.new: .*--config\.transfer\.new\.'),
  ],
)
def test_a_task_that_cannot_give_the_problems_is_refused_before_any_compute(test, message, tmp_path):
  config = configured(new=test)
  validate(config)
  with pytest.raises(ConfigError, match=message):
    Study(config, tmp_path)
  assert not list(tmp_path.iterdir())


def test_worked_examples_that_are_not_there_are_missed_before_any_compute(tmp_path):
  row = {'ID': 'a', 'Body': 'Tom has 2 pears.', 'Question': 'How many?', 'Answer': 2.0, 'Type': 'Addition'}
  (tmp_path / 'test.jsonl').write_text(json.dumps(row) + '\n')
  config = configured(new={'task': 'svamp', 'test': 1, 'data_dir': str(tmp_path)})
  jobs = Jobs(config, tmp_path / 'work')
  TestSet('new', config, jobs)
  config.sampling.few_shot = True
  with pytest.raises(ConfigError, match=r'config\.transfer\.new: .*worked examples'):
    TestSet('new', config, jobs)


@pytest.mark.parametrize('task', ['svamp', 'functional_math', 'humaneval'])
def test_public_test_sets_are_further_test_sets(task, tmp_path):
  if not (DATA / task).is_dir():
    pytest.skip(f'{DATA / task} is absent; set SWEB_TEST_DATA')
  config = configured(public={'task': task, 'test': 20, 'data_dir': str(DATA / task)})
  test = TestSet('public', config, Jobs(config, tmp_path))
  test.write_problems(tmp_path, 0)
  problems = list(records.read(Problem, tmp_path / 'transfer_public.jsonl'))
  assert len({p.id for p in problems}) == 20 and all(p.text and p.gold for p in problems)


def test_problems_are_chosen_by_seed_and_question_set(tmp_path):
  config = configured(short={'task': 'arithmetic', 'test': 5, 'levels': ('s1r0',)})
  test = TestSet('short', config, Jobs(config, tmp_path))
  chosen = []
  for s in (0, 1, 0):
    test.write_problems(tmp_path / f'p{s}', s)
    chosen.append([p.id for p in records.read(Problem, tmp_path / f'p{s}/transfer_short.jsonl')])
  assert chosen[0] == chosen[2] != chosen[1] and len(chosen[0]) == 5


def test_the_same_task_as_a_further_test_set_gives_the_verdicts_of_the_study(tmp_path):
  config = configured(again={'task': 'arithmetic', 'test': 6})
  jobs = Jobs(config, tmp_path)
  test = TestSet('again', config, jobs)
  for one in (jobs, test):
    one.write_problems(tmp_path / 'problems/set0', 0)
  jobs.answer(jobs.workdir / 'evaluate', 0, 'wc', 'base', METER, 'test', 0)
  test.evaluate(jobs.workdir / 'transfer/again/set0/wc/base', 0, 'wc', 'base', METER)
  ours, theirs = (
    list(records.read(Verdict, tmp_path / f'{folder}/greedy.verdicts.jsonl'))
    for folder in ('evaluate', 'transfer/again/set0/wc/base')
  )
  assert ours == theirs and len(ours) == 6
  assert jobs.drawing.params('wc', 0) is test._jobs.drawing.params('wc', 0)  # Read once.


def test_every_evaluation_of_a_study_has_its_like_on_the_test_set(tmp_path):
  config = configured(short={'task': 'arithmetic', 'test': 5, 'levels': ('s1r0',)})
  config.train.seeds = 2
  jobs = {j.name: j for j in Study(config, tmp_path)._jobs}
  own = [name.removeprefix('evaluate/') for name in jobs if name.startswith('evaluate/')]
  assert any(name.endswith('.seed1') for name in own)
  for name in own:
    assert jobs[f'transfer/short/{name}'].after == jobs[f'evaluate/{name}'].after
    assert f'transfer/short/{name}' in jobs['report'].after
