"""A workdir that has other steps: what differs is said before anything is done, and nothing finished is lost."""

from __future__ import annotations

import io
import json
import re
import shutil

import pytest
from etils import epath
from rich.console import Console

import sweb_jax
from sweb_jax import layout
from sweb_jax.models.checkpoint import CheckpointError
from sweb_jax.runtime.manifest import WorkdirError
from sweb_jax.study import command, opened
from sweb_jax.training import DataError


@pytest.mark.slow
def test_another_version_of_the_package_changes_nothing(runs, copy, monkeypatch):
  before = runs.listing(copy)
  monkeypatch.setattr(sweb_jax, '__version__', '99.0')
  said = runs(copy, runs.tiny())
  assert runs.listing(copy) == before
  assert 'Steps in the workdir: 14 reused.' in said


@pytest.mark.slow
def test_a_changed_field_stops_before_any_compute_and_says_what_redoing_costs(runs, copy):
  before = runs.listing(copy)
  with pytest.raises(WorkdirError) as e:
    runs(copy, runs.tiny(train__weight_decay=0.5))
  message = str(e.value)
  assert 'config.train.weight_decay: 0.01 there, 0.5 here (models/set0/wc/wc_low' in message
  assert 'FLOPs' in message and '--redo' in message and '--from_workdir' in message
  assert runs.listing(copy) == before


def test_a_plan_says_what_is_done_what_is_left_and_what_a_run_would_refuse(runs, done, tmp_path):
  def planned(root, **changes) -> str:
    said = io.StringIO()
    study = opened.open_study(runs.tiny(**changes))
    command.plan(study, epath.Path(root), Console(file=said, width=200), tell=True)
    return ' '.join(said.getvalue().split())

  before = runs.listing(done)
  assert 'Steps in the workdir: 14 reused. Left to do: none of 14 steps.' in planned(done)
  said = planned(done, task__test=14, question_sets=2)
  assert re.search(r'reused, \d+ grown, 14 new\. Left to do: \d+ of 28 steps, at most [\d.]+e\+\d+ FLOPs', said)
  said = planned(done, train__weight_decay=0.5)
  assert re.search(r' (\d+) changed\. Left to do: \1 of 14 steps, [\d.]+e', said)
  assert 'A run would stop: --workdir=' in said and 'config.train.weight_decay: 0.01 there, 0.5 here' in said
  assert 'Left to do' not in planned(tmp_path / 'new') and not (tmp_path / 'new').exists()
  assert runs.listing(done) == before


def test_a_field_that_the_workdir_knows_nothing_of_is_not_said_to_be_set_back(runs, copy):
  for path in (copy / layout.model(0, 'wc', 'wc_low')).glob(layout.MANIFEST):
    said = json.loads(path.read_text())
    del said['settings']['train.clip_norm']
    path.write_text(json.dumps(said | {'version': 'of a former one'}))
  with pytest.raises(WorkdirError) as e:
    runs(copy, runs.tiny())
  assert 'config.train.clip_norm: not known there, 1.0 here (models/set0/wc/wc_low)' in str(e.value)
  assert 'Set the fields back (but those not known: another version of the package made this workdir' in str(e.value)


@pytest.mark.slow
def test_redo_moves_what_was_there_and_the_tables_are_those_of_a_fresh_study(runs, done, copy, tmp_path):
  config = runs.tiny(train__weight_decay=0.5)
  before = runs.listing(copy)
  runs(copy, config, redo=True)
  after = runs.listing(copy)
  for name, digest in before.items():
    if name.split('/')[0] in ('problems', 'samples', 'verdicts', 'examples'):
      assert after[name] == digest
  moved = {p.name for p in (copy / layout.SUPERSEDED).rglob(layout.RESULT)}
  assert moved
  runs(tmp_path / 'fresh', config)
  assert runs.tables(copy) == runs.tables(tmp_path / 'fresh')
  # And back: what was superseded stays where it is.
  runs(copy, runs.tiny(), redo=True)
  assert runs.tables(copy) == runs.tables(done)


@pytest.mark.slow
def test_another_seed_is_a_changed_field_and_no_other_data(runs, done, copy):
  with pytest.raises(WorkdirError, match=r'config.seed: 0 there, 1 here \(problems/set0/train'):
    runs(copy, runs.tiny(seed=1), ('plan',))
  runs(copy, runs.tiny(seed=1), ('plan',), redo=True)
  problems = [(root / layout.problems(0, 'train') / layout.PROBLEMS).read_text() for root in (done, copy)]
  assert problems[0] != problems[1]


@pytest.mark.slow
def test_another_student_leaves_the_samples_of_the_generators_alone(runs, tmp_path):
  root = tmp_path / 'workdir'
  config = runs.tiny(learners=('student',))
  runs(root, config)
  before = runs.results(root)
  other = shutil.copytree(sweb_jax.__path__[0] + '/models/embedded/wc', tmp_path / 'other_student')
  config.models.student = str(other)
  with pytest.raises(WorkdirError, match='the files of student'):
    runs(root, config)
  assert runs.results(root) == before
  runs(root, config, redo=True)
  after = runs.results(root)
  kept = {name: digest for name, digest in before.items() if not name.startswith(('models/', 'scores/'))}
  assert kept.items() <= after.items()


@pytest.mark.slow
def test_a_row_length_that_is_too_small_is_found_before_sampling_and_its_advice_works(runs, tmp_path):
  root = tmp_path / 'workdir'
  with pytest.raises(DataError, match='raise it') as e:
    runs(root, runs.tiny(gold=True, train__row_length=30, train__too_long='refuse'))
  assert 'do not fit' in str(e.value) and not root.exists()
  said = runs(root, runs.tiny(gold=True, train__row_length=30, train__too_long='leave_out'))
  assert 'solutions by people do not fit a row of wc' in said
  # Raised later: samples and verdicts stay, and only what depends on rows is asked about.
  with pytest.raises(WorkdirError, match=r'config.train.row_length: 30 there, 48 here') as e:
    runs(root, runs.tiny(gold=True))
  assert 'samples/' not in str(e.value)


@pytest.mark.slow
def test_files_that_somebody_put_into_a_step_are_named_and_left_alone(runs, tmp_path):
  root = tmp_path / 'workdir'
  runs(root, runs.tiny(generators=('se',)), ('plan',))
  mine = root / layout.samples(0, 'wc') / 'mine.jsonl'
  mine.parent.mkdir(parents=True)
  mine.write_text('{}\n')
  with pytest.raises(WorkdirError, match=r'samples/set0/wc holds files and no manifest.json'):
    runs(root, runs.tiny(), redo=True)
  assert mine.read_text() == '{}\n'


@pytest.mark.slow
def test_a_damaged_model_of_a_learner_is_found_before_anything_is_drawn(runs, tmp_path):
  folder = tmp_path / 'model'
  shutil.copytree(sweb_jax.__path__[0] + '/models/embedded/student', folder)
  (next((folder / 'params').rglob('_METADATA'))).write_text('{}')
  config = runs.tiny(learners=('student',))
  config.models.student = str(folder)
  with pytest.raises((CheckpointError, ValueError)) as e:
    runs(tmp_path / 'workdir', config)
  assert 'config.models.student' in str(e.value)
  assert not (tmp_path / 'workdir').exists()


@pytest.mark.slow
def test_a_fork_takes_over_what_fits_by_reference(runs, done, tmp_path):
  before = runs.listing(done)
  config = runs.tiny(train__weight_decay=0.5)
  said = runs(tmp_path / 'fork', config, from_workdir=done)
  assert 'Took over 10 steps' in said and 'by reference (hard links)' in said
  ours, theirs = tmp_path / 'fork' / layout.samples(0, 'wc'), done / layout.samples(0, 'wc')
  for path in theirs.iterdir():
    assert (ours / path.name).samefile(path)
  assert runs.listing(done) == before
  runs(tmp_path / 'fresh', config)
  assert runs.tables(tmp_path / 'fork') == runs.tables(tmp_path / 'fresh')
  # What grows in the fork does not grow in the workdir it came from.
  runs(tmp_path / 'fork', runs.tiny(train__weight_decay=0.5, task__test=14))
  assert runs.listing(done) == before
  with pytest.raises(WorkdirError, match='not a workdir'):
    runs(tmp_path / 'another', config, from_workdir=tmp_path)
  assert not (tmp_path / 'another').exists()


@pytest.mark.slow
def test_other_data_under_the_same_config_are_refused(runs, copy):
  path = copy / layout.problems(0, 'train') / layout.PROBLEMS
  first, *rest = path.read_text().splitlines()
  path.write_text('\n'.join([first.replace('how many', 'How many'), *rest]) + '\n')
  with pytest.raises(WorkdirError, match='was made from other data'):
    runs(copy, runs.tiny())


@pytest.mark.slow
def test_a_policy_that_is_changed_leaves_the_other_arms_alone(runs, tmp_path):
  root = tmp_path / 'workdir'
  policy = {'kind': 'until_solved', 'generators': ('wc',)}
  runs(root, runs.tiny(policies={'until': policy}), ('plan', 'sample', 'grade'))
  before = runs.results(root)
  with pytest.raises(WorkdirError, match=r'config.policies'):
    runs(root, runs.tiny(policies={'until': policy | {'correct': 2}}), ('plan', 'sample', 'grade'))
  runs(root, runs.tiny(policies={'until': policy | {'correct': 2}}), ('plan', 'sample', 'grade'), redo=True)
  after = runs.results(root)
  assert {n for n, h in before.items() if after.get(n) != h} <= {n for n in before if 'until_low' in n}
