"""The answer in a sentence: whose data, by how much, whether it is decided, and what would decide it."""

from __future__ import annotations

import dataclasses
import json

import pytest

from sweb_jax import layout
from sweb_jax.analysis import headline, intervals, power, read, terms
from sweb_jax.analysis.table import Table
from sweb_jax.budget import Arm, Comparison

LARGE = {'models': {'wc': '/models/gemma2_9b/', 'se': 'size:gemma2_27b'}}
COLUMNS = (
  *('comparison', 'budget', 'matched', 'data A', 'data B', 'learners', 'difference', 'difference low'),
  *('difference high', 'verdict', 'more sets', 'minutes', 'dollars', 'sets'),
)


def say(**fields):
  """The sentence of one comparison of a study of two, in a table."""
  row = {
    'comparison': 'high budget', 'budget': 'high', 'matched': 'compute', 'data A': 'gemma2_9b (30 samples a problem)',
    'data B': 'gemma2_27b (10 samples a problem)', 'learners': 3, 'difference': 0.028, 'difference low': 0.011,
    'difference high': 0.045, 'verdict': 'WC', 'more sets': None, 'minutes': None, 'dollars': None, 'sets': 6,
  } | fields  # fmt: skip
  other = row | {'comparison': 'controls', 'matched': 'number'}
  rows = tuple(tuple(r[c] for c in COLUMNS) for r in (row, other))
  (first,), (_,) = headline.sentences([Table(headline.NAME, '', COLUMNS, rows, '')])
  return first


def test_a_decided_comparison_names_the_better_data_first():
  said = say()
  assert said == (
    'Under the high budget, data from gemma2_9b (30 samples a problem) trained better models than data from '
    'gemma2_27b (10 samples a problem): +2.8 points [+1.1, +4.5] on average over 3 learners and 6 question sets, '
    "matched by compute; decided at 95 % after Holm's correction for 2 comparisons."
  )
  turned = say(**{'difference': -0.028, 'difference low': -0.045, 'difference high': -0.011, 'verdict': 'SE'})
  assert 'data from gemma2_27b (10 samples a problem) trained better models than data from gemma2_9b' in turned
  assert '+2.8 points [+1.1, +4.5]' in turned


def test_an_undecided_comparison_says_what_would_decide_it():
  open_ = {'verdict': intervals.UNDECIDED, 'difference low': -0.011}
  said = say(**open_, **{'more sets': 9, 'minutes': 40.2, 'dollars': 3.0})
  assert said == (
    'Under the high budget it is undecided whether data from gemma2_9b (30 samples a problem) or from gemma2_27b (10 '
    'samples a problem) trains better models: +2.8 points [-1.1, +4.5] for the first on average over 3 learners and 6 '
    "question sets, matched by compute, at 95 % after Holm's correction for 2 comparisons. About 9 more question sets, "
    '40 minutes and $3.00 of samples by the plan, would decide a difference of this size.'
  )
  assert say(**open_).endswith('after Holm\'s correction for 2 comparisons.')
  assert 'so small takes more than 1,000 question sets' in say(**open_, **{'more sets': power.MOST_SETS})
  assert 'At least 1 more question set would decide' in say(**open_, **{'more sets': 1, 'sets': 1})


def test_a_rounded_zero_has_no_sign():
  assert '+0.0 points [-1.1, +4.5]' in say(**{'difference': -0.0, 'difference low': -0.011})


def rows(workdir):
  (table,) = headline.build(read(workdir))
  return [dict(zip(table.columns, row, strict=True)) for row in table.rows]


def test_one_learner_is_the_row_of_the_differences(make_workdir):
  """The mean over learners of which there is one."""
  (row,) = rows(make_workdir())
  assert (row['difference'], row['value A'], row['value B']) == (0.375, 0.625, 0.25)
  assert (row['learners'], row['sets'], row['n'], row['verdict']) == (1, 2, 8, intervals.UNDECIDED)
  # The sets differ by .5 and .25: mean .375, standard deviation .177.
  assert row['more sets'] == power.sets_needed(0.375, 0.5**0.5 / 4) - 2


def test_the_mean_over_learners_is_taken_in_each_set_first(make_workdir, change_study):
  results = read(make_workdir())
  study = dataclasses.replace(results.study, learners=('student', 'wc'))
  turned = {
    (s, 'wc', {'wc_low': 'se_low', 'se_low': 'wc_low'}.get(a, a)): draws for (s, _, a), draws in results.greedy.items()
  }
  both = dataclasses.replace(results, study=study, greedy=results.greedy | turned)
  (table,) = headline.build(both)
  row = dict(zip(table.columns, table.rows[0], strict=True))
  # What one learner gains the other loses, in every set alike.
  assert (row['learners'], row['difference'], row['verdict'], row['more sets']) == (2, 0, intervals.UNDECIDED, None)
  del turned[1, 'wc', 'se_low']
  (table,) = headline.build(dataclasses.replace(both, greedy=results.greedy | turned))
  assert table.column('sets') == [1]  # The set that all learners have.


def test_holm_counts_every_comparison_of_the_study(make_workdir, change_study):
  root = make_workdir()
  (alone,) = rows(root)
  assert alone['p, Holm'] == alone['p'] == pytest.approx(
    intervals.compare(*(terms.greedy(read(root), 'student', a, (0, 1)) for a in ('wc_low', 'se_low'))).p, abs=1e-4
  )
  change_study(root, comparisons=[
    {'name': 'low budget', 'a': 'wc_low', 'b': 'se_low'}, {'name': 'gold', 'a': 'gold', 'b': 'wc_low'},
  ])  # fmt: skip
  assert max(r['p, Holm'] for r in rows(root)) > alone['p']


def test_models_go_by_their_own_names(make_workdir):
  results = dataclasses.replace(read(make_workdir()), config=LARGE)
  assert headline.data_of(results, Arm('wc_low', 'wc', 30, 'low', 'compute')) == 'gemma2_9b (WC, 30 samples a problem)'
  assert headline.data_of(results, Arm('se_low', 'se', 1, 'low', 'compute')) == 'gemma2_27b (SE, 1 sample a problem)'
  assert headline.data_of(results, Arm('mix_low', None, None, 'low', 'spending', 'mix')) == 'mix_low'


@pytest.mark.parametrize(('cost', 'word'), [('paper', 'compute'), ('price', 'price'), ('seconds', 'time')])
def test_equal_cost_is_called_by_what_counts_as_cost(make_workdir, change_study, cost, word):
  root = make_workdir()
  change_study(root, cost=cost, prices={'wc': (1, 2), 'se': (2, 4)}, seconds={'wc': 1e-3, 'se': 2e-3})
  assert rows(root)[0]['matched'] == word


def test_the_price_of_more_sets_is_by_the_plan(make_workdir, change_study):
  root = make_workdir()
  costs = {'wc_low': {'price': 1.5}, 'se_low': {'price': 2.0}}
  change_study(root, costs=costs, comparisons=[dataclasses.asdict(Comparison('low budget', 'wc_low', 'se_low'))])
  rates = {'estimate': {'sampling_flops': 10.0, 'training_flops': 20.0}}
  (root / layout.CONFIG).write_text(json.dumps(rates))
  (row,) = rows(root)
  # 600 FLOPs of sampling and of training a set.
  assert row['minutes'] == round(row['more sets'] * (600 / 10 + 600 / 20) / 60, 1)
  assert row['dollars'] == row['more sets'] * 3.5
