from __future__ import annotations

import csv
import dataclasses
import io

import pytest

from sweb_jax.analysis import Table, differences, read, tables
from sweb_jax.analysis.intervals import UNDECIDED, t_interval, wilson


def row(table: Table, **where) -> dict:
  """The one row in which the named columns hold the given cells."""
  rows = [dict(zip(table.columns, cells, strict=True)) for cells in table.rows]
  found = [r for r in rows if all(r[k] == v for k, v in where.items())]
  assert len(found) == 1
  return found[0]


@pytest.fixture
def built(make_workdir):
  return {table.name: table for table in tables.build(read(make_workdir()))}


def test_data_of_an_arm_by_hand(built):
  wc = row(built['data'], arm='wc_low')
  # Coverage@2 of 3: set 0 (1 + 2/3) / 2, set 1 (1 + 0) / 2.
  assert wc['coverage@k'] == pytest.approx((5 / 6 + 1 / 2) / 2, abs=5e-5)
  # Unique: set 0 1 and 2/3; set 1 2/3 + 2/3 and 0.
  assert wc['diversity@k (all)'] == pytest.approx((5 / 6 + 2 / 3) / 2, abs=5e-5)
  assert wc['diversity@k (solved)'] == pytest.approx((1 + 4 / 3) / 2, abs=5e-5)
  assert (wc['coverage@k low'], wc['coverage@k high']) == (0, 1)
  interval = t_interval([1.0, 4 / 3])
  assert wc['diversity@k (solved) high'] == pytest.approx(interval.high, abs=5e-5)
  # The first two samples of each problem alone: 4 are right, one of them by wrong reasoning.
  assert (wc['kept'], wc['judged'], wc['FPR'], wc['truncated']) == (4, 4, 0.25, 0)
  assert (wc['tokens'], wc['FLOPs']) == (2 + 3 + 2 + 2 + 2 + 2 + 2 + 2, 2 * 10 * 17)
  assert (wc['k'], wc['sets'], wc['problems']) == (2, 2, 4)


def test_a_figure_with_nothing_to_count_is_empty(built):
  se = row(built['data'], arm='se_low')
  assert se['coverage@k'] == 0.25
  # In set 1 no problem was solved.
  assert se['diversity@k (solved)'] is None
  assert se['FPR'] is None


def test_data_are_compared_side_by_side(built):
  difference = row(built['data_differences'], figure='coverage@k')
  assert difference['difference'] == pytest.approx(2 / 3 - 1 / 4, abs=1e-4)
  assert difference['relative'] == pytest.approx(5 / 3, abs=1e-4)
  assert row(built['data_differences'], figure='FPR')['verdict'] == 'no data'


def test_accuracy_by_hand(built):
  wc = row(built['accuracy'], source='wc_low')
  assert wc['greedy pass@1'] == (0.75 + 0.5) / 2
  assert wc['maj@1'] == wc['maj@3'] == wc['greedy pass@1']
  # Right greedy: 2 of 3 drawn right, else 1 of 3. pass@1: 2/3 p + 1/3 (1 - p), pass@3: 1.
  assert wc['pass@1'] == pytest.approx((0.625 + 1) / 3, abs=5e-5)
  assert wc['pass@3'] == 1
  assert (wc['n'], wc['learning rate, by set'], wc['step, by set'], wc['examples']) == (8, '0.0025 0.0025', '75 76', 4)
  # Both sets agree exactly.
  gold = row(built['accuracy'], source='gold')
  assert (gold['greedy pass@1 low'], gold['greedy pass@1 high']) == (round(wilson(8, 8).low, 4), 1)
  assert row(built['accuracy'], source='base')['step, by set'] is None


def test_difference_over_two_sets_by_hand(built):
  low = row(built['differences'], learner='student')
  assert (low['value A'], low['value B'], low['difference'], low['relative']) == (0.625, 0.25, 0.375, 1.5)
  # Sets differ by .5 and .25: t(1) = 12.7062, standard error .125.
  assert low['difference low'] == pytest.approx(0.375 - 12.7062 * 0.125, abs=1e-4)
  # Within sets all is clear, but one set of questions or two cannot decide.
  assert low['within sets low'] > 0
  assert (low['verdict'], low['holds for'], low['n']) == (UNDECIDED, '2 question sets', 8)
  assert low['setup A'] == low['setup B'] == 'knowledge distillation'
  assert '1 comparisons' in built['differences'].note


def test_one_set_speaks_for_itself_only(make_workdir):
  named = {t.name: t for t in tables.build(read(make_workdir(sets=(0,))))}
  low = row(named['differences'], learner='student')
  assert low['holds for'] == 'this question set only'
  assert (low['difference low'], low['difference high']) == (low['within sets low'], low['within sets high'])
  base = row(named['accuracy'], source='se_low')
  interval = wilson(1, 4)
  assert (base['greedy pass@1 low'], base['greedy pass@1 high']) == (round(interval.low, 4), round(interval.high, 4))


def test_every_source_is_compared_with_the_base(built):
  table = built['minus_base']
  assert table.column('source') == ['wc_low', 'se_low', 'gold']
  gold = row(table, source='gold')
  assert (gold['difference'], gold['value B']) == (0.875, 0.125)


def test_a_study_of_one_model_has_no_comparisons(make_workdir):
  names = [t.name for t in tables.build(read(make_workdir(compare=False)))]
  assert names == ['data', 'accuracy', 'minus_base', 'pass_k', 'by_level', 'spent', 'arms', 'charged', 'models']
  assert set(names) < set(tables.NAMES)


def test_each_model_stands_with_the_implementation_that_computed_it(make_workdir, change_study):
  root = make_workdir()
  change_study(root, implementations={'wc': 'gemma', 'se': 'native'})  # One of a former version said nothing.
  found = next(t for t in tables.build(read(root)) if t.name == 'models')
  assert found.rows == (('wc', 10, 'gemma'), ('se', 20, 'native'), ('student', 15, None))


def test_spent_tokens_are_counted_once_and_stand_beside_the_plan(built):
  wc = row(built['spent'], kind='sample', model='wc')
  # A sample that stands in two chunks is charged once.
  assert (wc['tokens'], wc['tokens planned'], wc['samples'], wc['samples planned']) == (15 + 12, 60, 12, 12)
  assert wc['FLOPs'] == 2 * 10 * 27
  student = row(built['spent'], kind='evaluate', model='student')
  # 4 sources x 2 sets x 4 problems x (1 greedy + 3 drawn) samples of 2 tokens.
  assert (student['tokens'], student['tokens planned']) == (4 * 2 * 4 * 4 * 2, None)
  # Training is planned; no sample tells what it took.
  training = row(built['spent'], kind='train', model='student')
  assert (training['tokens'], training['tokens planned']) == (None, 60)


@pytest.mark.parametrize(
  ('learner', 'source', 'name'),
  [
    ('student', 'wc_low', 'knowledge distillation'),
    ('wc', 'wc_low', 'self-improvement'),
    ('wc', 'se_low', 'knowledge distillation'),
    ('se', 'wc_low', 'weak-to-strong improvement'),
    ('se', 'se_low', 'self-improvement'),
    ('se', 'gold', 'gold solutions'),
    ('se', 'base', 'no fine-tuning'),
  ],
)
def test_setups_have_the_papers_names(make_workdir, learner, source, name):
  assert tables.setup(read(make_workdir()).study, learner, source) == name


def test_a_control_says_how_a_comparison_is_matched(make_workdir):
  results = read(make_workdir())
  arms = tuple(dataclasses.replace(a, matched='number') if a.name == 'wc_low' else a for a in results.study.arms)
  results = dataclasses.replace(results, study=dataclasses.replace(results.study, arms=arms))
  assert differences.accuracy(results).column('matched') == ['number']


def test_csv_and_json_say_the_same(built):
  for table in built.values():
    assert Table.from_json(table.json()) == table
    header, *rows = csv.reader(io.StringIO(table.csv()))
    assert tuple(header) == table.columns
    assert rows == [['' if cell is None else str(cell) for cell in cells] for cells in table.rows]


def test_an_interval_stands_beside_its_figure():
  table = Table('t', 'T', ('arm', 'x', 'x low', 'x high', 'w low', 'w high', 'n'), (
    ('a', 0.5, 0.25, 0.75, -1.0, 1.0, 1200),
    ('b', None, None, None, None, None, 10**12),
  ), '')
  assert table.readable() == (
    ['arm', 'x', 'w', 'n'],
    [['a', '0.500 [0.250, 0.750]', '[-1.000, 1.000]', '1,200'], ['b', '–', '', '1.000e+12']],
  )
