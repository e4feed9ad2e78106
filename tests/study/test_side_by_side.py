"""A study whose trainings run side by side has the results of one that trains them one after the other."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from sweb_jax import layout
from sweb_jax.models.decoder import DecoderError
from sweb_jax.study import fine_tuning, opened
from sweb_jax.training import TrainingError

FIELDS = {'train__learning_rates': (1e-3, 2.5e-3), 'train__seeds': 2, 'train__save_seconds': 0.001}


@pytest.fixture
def sizes(monkeypatch) -> list[int]:
  """How many trainings each program was of."""
  found, fit = [], fine_tuning.fit

  def counting(params, config, runs, **how):
    found.append(len(runs))
    return fit(params, config, runs, **how)

  monkeypatch.setattr(fine_tuning, 'fit', counting)
  return found


@pytest.fixture(scope='module')
def one_by_one(runs, tmp_path_factory) -> Path:
  root = tmp_path_factory.mktemp('one_by_one') / 'workdir'
  runs(root, runs.tiny(**FIELDS))
  return root


def test_a_plan_knows_which_trainings_may_run_side_by_side(runs):
  config = runs.tiny(**FIELDS, rounds=2, round__arm='wc_low', question_sets=2)
  found = fine_tuning.trainings(opened.open_study(config).graph.steps)
  steps = [s for s in opened.open_study(config).graph.steps if s.kind == 'models']
  assert set(found) == {s.learner for s in steps}
  # Of two rounds in two question sets each, at two rates.
  assert {name: len(lists) for name, lists in found.items()} == dict.fromkeys(found, 4)
  assert sum(len(alike) for lists in found.values() for alike in lists) == 2 * len(steps)
  assert {n for lists in found.values() for alike in lists for n in alike} == {s.most_steps for s in steps}


def selections(root: Path) -> dict[str, dict]:
  return {str(p.relative_to(root)): json.loads(p.read_text()) for p in sorted(root.rglob(layout.SELECTION))}


@pytest.mark.slow
def test_arms_seeds_and_rates_of_a_learner_share_programs_and_tables_stay_the_same(runs, one_by_one, tmp_path, sizes):
  said = runs(tmp_path / 'workdir', runs.tiny(**FIELDS, train__side_by_side=3))
  assert sizes == [3, 3, 2]
  assert selections(tmp_path / 'workdir') == selections(one_by_one) and len(selections(one_by_one)) == 4
  assert runs.tables(tmp_path / 'workdir') == runs.tables(one_by_one)
  assert 'nothing to do' not in said
  runs(tmp_path / 'workdir', runs.tiny(**FIELDS))  # How many are side by side changes no step.
  assert sizes == [3, 3, 2]


@pytest.mark.slow
def test_a_stopped_study_goes_on_in_groups_of_another_size_and_trains_nothing_twice(
  runs, one_by_one, tmp_path, sizes, monkeypatch
):
  fit = fine_tuning.fit

  def failing(*given, **how):
    if len(sizes) == 2:
      raise TrainingError('stopped here')
    return fit(*given, **how)

  with monkeypatch.context() as patch, pytest.raises(TrainingError):
    patch.setattr(fine_tuning, 'fit', failing)
    runs(tmp_path / 'workdir', runs.tiny(**FIELDS, train__side_by_side=3))
  assert sizes == [3, 3]
  sizes.clear()
  runs(tmp_path / 'workdir', runs.tiny(**FIELDS, train__side_by_side=2))
  assert sum(sizes) == 2
  assert runs.tables(tmp_path / 'workdir') == runs.tables(one_by_one)


def test_an_implementation_that_trains_one_by_one_is_told_so_before_anything_is_computed(runs):
  config = runs.tiny(implementation='gemma', train__side_by_side=2)
  with pytest.raises(DecoderError, match=r"train\.side_by_side=2: the implementation 'gemma' trains one by one"):
    opened.open_study(config)
