"""Rounds: what was trained draws the next data."""

from __future__ import annotations

import csv
from pathlib import Path

import pytest

from sweb_jax import layout, records
from sweb_jax.config import ConfigError
from sweb_jax.records import Example, Sample


def examples(root: Path, arm: str) -> list[Example]:
  return list(records.read(Example, root / layout.examples(0, arm) / layout.EXAMPLES))


def samples(root: Path, generator: str) -> dict[tuple[str, int], str]:
  paths = (root / layout.samples(0, generator)).glob(layout.CHUNKS)
  return {(s.problem_id, s.index): s.text for p in paths for s in records.read(Sample, p)}


@pytest.fixture(scope='module')
def three(runs, tmp_path_factory) -> Path:
  root = tmp_path_factory.mktemp('rounds') / 'workdir'
  config = runs.tiny(rounds=3, round__arm='wc_low', learners=('wc', 'student'), task__train=24)
  runs(root, config)
  return root


@pytest.mark.slow
def test_each_learner_draws_for_itself_with_what_it_became(three):
  for number in (2, 3):
    for learner in ('wc', 'student'):
      name = f'{learner}.round{number}'
      drawn = samples(three, name)
      assert len(drawn) == 24 * 3
      assert {e.solution for e in examples(three, name)} <= set(drawn.values())
      assert (three / layout.scores(layout.TEST, 0, learner, name) / layout.MANIFEST).exists()
      other = 'student' if learner == 'wc' else 'wc'
      assert not (three / layout.model(0, other, name)).exists()
  assert samples(three, 'wc.round2') != samples(three, 'wc')


@pytest.mark.slow
def test_the_report_shows_every_round_with_intervals(three):
  with open(three / layout.TABLES / 'rounds.csv') as f:
    rows = list(csv.DictReader(f))
  assert [(r['learner'], r['round']) for r in rows] == [(m, str(n)) for m in ('wc', 'student') for n in range(4)]
  for row in rows:
    figures = ['greedy pass@1', *([] if row['round'] == '0' else ['coverage@k'])]
    for figure in figures:
      assert float(row[f'{figure} low']) <= float(row[figure]) <= float(row[f'{figure} high'])
  assert (three / layout.FIGURES / 'rounds.svg').exists()


@pytest.mark.slow
def test_more_rounds_go_on_from_those_that_are_there(runs, tmp_path):
  root = tmp_path / 'workdir'
  rounds = {'round__arm': 'wc_low', 'task__train': 24}
  runs(root, runs.tiny(**rounds, rounds=2))
  before = runs.results(root)
  runs(root, runs.tiny(**rounds, rounds=3))
  after = runs.results(root)
  assert before.items() <= after.items()
  runs(tmp_path / 'fresh', runs.tiny(**rounds, rounds=3))
  assert runs.tables(root) == runs.tables(tmp_path / 'fresh')


@pytest.mark.slow
def test_one_learner_may_draw_for_all_with_a_budget_a_round_and_earlier_examples_kept(runs, tmp_path):
  root = tmp_path / 'workdir'
  config = runs.tiny(
    rounds=3, round__arm='wc_low', round__by='wc', round__samples=(2, 5), round__keep=True,
    learners=('wc', 'student'), task__train=24,
  )  # fmt: skip
  runs(root, config)
  assert len(samples(root, 'wc.round2')) == 24 * 2 and len(samples(root, 'wc.round3')) == 24 * 5
  assert not (root / layout.samples(0, 'student.round2')).exists()
  for learner in ('wc', 'student'):
    assert (root / layout.model(0, learner, 'wc.round3') / layout.SELECTION).exists()
  first, second, third = (examples(root, arm) for arm in ('wc_low', 'wc.round2', 'wc.round3'))
  assert second[: len(first)] == first and third[: len(second)] == second


@pytest.mark.parametrize(
  ('changes', 'field'),
  [
    ({'round__arm': ''}, 'round.arm'),
    ({'round__arm': 'gold'}, 'round.arm'),
    ({'round__by': 'se'}, 'round.by'),
    ({'round__samples': (1,)}, 'round.samples'),
    ({'rounds': 0}, 'rounds'),
  ],
)
def test_rounds_that_make_no_sense_are_refused_by_field(runs, changes, field):
  from sweb_jax.study import opened

  with pytest.raises(ConfigError, match=f'config.{field}'):
    opened.open_study(runs.tiny(**{'rounds': 3, 'round__arm': 'wc_low', **changes}))
