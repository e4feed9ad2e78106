"""Arms of policies in the report: what they hold, what they were charged, and what they are compared with."""

from __future__ import annotations

import dataclasses
import json
import shutil

import pytest

from sweb_jax import analysis, layout, records
from sweb_jax.analysis import budgets, read, tables
from sweb_jax.answers.judge import Opinion
from sweb_jax.budget import Arm
from sweb_jax.records import Sample, Verdict
from sweb_jax.runtime import files

HARD = Arm('hard_low', 'wc', None, 'low', 'spending', policy='hard')
ALLOCATION = {
  'budget': 100.0, 'unit': 'FLOPs', 'charged': 120, 'overshoot': 20, 'rounds': 2, 'generators': ['wc'],
  'prefix': {'wc': 5},
}  # fmt: skip


@pytest.fixture
def workdir(make_workdir, change_study, add_step):
  """The small study of two sets with an arm 'hard_low': three samples of the first problem, none of the second."""
  root = make_workdir()
  study = analysis.read_study(root)
  change_study(
    root,
    arms=[dataclasses.asdict(a) for a in (*study.arms[:2], HARD, *study.arms[2:])],
    comparisons=[
      *map(dataclasses.asdict, study.comparisons),
      {'name': 'low budget: hard against wc_low', 'a': 'hard_low', 'b': 'wc_low'},
    ],
    costs={'hard_low': {'paper': 300.0, 'tokens': 15}},
  )
  for s in (0, 1):
    folder = layout.allocation(s, 'hard_low')
    add_step(root, folder)
    rows = [('a', True), ('a ', True), ('b', bool(s))]
    samples = [Sample(f'train{s}-0', i, text, (5, 1), 'stop', -1.0) for i, (text, _) in enumerate(rows)]
    verdicts = [Verdict(f'train{s}-0', i, '7', right, '') for i, (_, right) in enumerate(rows)]
    files.write_text(root / folder / 'wc' / layout.HELD, records.dumps(samples))
    files.write_text(root / folder / 'wc' / layout.GRADED, records.dumps(verdicts))
    prompts = {'wc': {f'train{s}-{i}': 3 for i in range(2)}}
    files.write_json(root / folder / layout.ALLOCATION, ALLOCATION | {'prompts': prompts})
    for kind, extent in (('models', {}), ('scores/test', {'problems': 4, 'votes': 3})):
      add_step(root, f'{kind}/set{s}/student/hard_low', extent)
      shutil.copytree(
        root / f'{kind}/set{s}/student/wc_low', root / f'{kind}/set{s}/student/hard_low', dirs_exist_ok=True
      )
  return root


def test_what_an_arm_of_a_policy_holds_by_hand(workdir):
  held = read(workdir).held
  assert held[0, 'hard_low'].solved.tolist() == [True, False]
  assert held[0, 'hard_low'].unique.tolist() == [1, 0]  # White space aside.
  assert held[1, 'hard_low'].unique.tolist() == [2, 0]
  assert held[1, 'hard_low'].correct.tolist() == [3, 0]
  # A rectangular arm holds the first two samples of every problem.
  assert held[0, 'wc_low'].correct.tolist() == [2, 0]


def test_planned_budget_and_spent_stand_side_by_side(workdir):
  table = budgets.arms(read(workdir))
  row = dict(zip(table.columns, next(r for r in table.rows if r[0] == 'hard_low'), strict=True))
  assert (row['samples'], row['policy'], row['problems'], row['correct']) == ('6 wc', 'hard', 4, 5)
  assert (row['planned, FLOPs'], row['budget, FLOPs'], row['spent, FLOPs']) == (600, 200, 240)
  assert row['over'] == pytest.approx(0.2)
  assert row['solved'] == 0.5 and row['unique a problem'] == 0.75
  assert row['tokens, tokens'] == 12


def test_an_arm_is_charged_the_samples_it_holds_under_every_definition(workdir):
  held = read(workdir).held
  # The first two samples of each problem: 2 + 3 and 2 + 2 tokens. A token is 2 x 10 FLOPs, or 2 x 9 in the products.
  assert held[0, 'wc_low'].spent == {'paper': 9 * 20, 'flops': 9 * 18, 'tokens': 9}
  assert held[0, 'wc_low'].samples == {'wc': 4} and held[0, 'wc_low'].budget is None
  assert held[0, 'se_low'].spent == {'paper': 4 * 40, 'flops': 4 * 38, 'tokens': 4}


def test_an_arm_is_charged_what_it_read(workdir, change_study):
  change_study(workdir, cost='price', prices={'wc': [1e6, 0.5e6], 'se': [2e6, 4e6]})
  held = read(workdir).held
  # Worked examples of 5 tokens once, two prompts of 3, and 9 tokens.
  assert held[0, 'wc_low'].spent['price'] == pytest.approx(5 + 2 * 3 + 9 * 0.5)
  assert held[0, 'hard_low'].spent['price'] == pytest.approx(5 + 3 + 6 * 0.5)  # Of one problem alone.
  change_study(workdir, share_prefix=False)
  assert read(workdir).held[0, 'wc_low'].spent['price'] == pytest.approx(2 * (5 + 3) + 9 * 0.5)


def test_an_arm_that_a_judge_filters_is_charged_the_judge(workdir, change_study):
  change_study(workdir, judge='se', judged=['wc_low'], cost='price', prices={'wc': [1e6, 0.5e6], 'se': [2e6, 4e6]})
  folder = workdir / layout.opinions(0, 'wc', layout.ALL)
  said = [Opinion(f'train0-{p}', i, True, 4, 10) for p in range(2) for i in range(3)]
  files.write_text(folder / layout.OPINIONS, records.dumps(said))
  files.write_json(folder / layout.PROMPTS, {'model': 'se', 'prefix': 7, 'prompts': {}})
  # Of three samples a problem the arm holds two: four are read, in 10 tokens each, and answered in 4.
  spent = read(workdir).held[0, 'wc_low'].spent
  assert spent['price'] == pytest.approx(5 + 2 * 3 + 9 * 0.5 + 2 * (7 + 4 * 10) + 4 * 4 * 4)
  assert spent['tokens'] == 9 + 4 * 4


def test_a_policy_is_compared_by_what_its_arms_hold_and_by_what_they_teach(workdir):
  named = {t.name: t for t in tables.build(read(workdir))}
  figures = [r[2] for r in named['data_differences'].rows if r[3] == 'hard_low']
  assert figures == list(budgets.FIGURES)
  assert 'hard_low' in named['differences'].column('A')
  assert 'hard_low' not in named['data'].column('arm')


def test_where_the_tokens_went_is_in_the_report(workdir):
  folder = layout.model(0, 'student', 'gold')
  ledger = {'file': layout.SELECTION, 'job': folder, 'model': 'student'}
  ledger |= {'tokens': {'prompt': 30, 'validation': 70}, 'seconds': 0.0}
  files.write_text(workdir / folder / layout.numbered(layout.LEDGERS, 0), json.dumps(ledger) + '\n')
  # Of what a judge drew there is no line yet, as where the run was killed.
  replies = workdir / layout.opinions(0, 'wc', layout.KEPT) / layout.numbered(layout.CHUNKS, 0)
  files.write_text(replies, records.dumps([Sample('train0-0/0', 0, 'Verdict: right', (5, 6, 1), 'stop', -1.0)]))
  table = next(t for t in analysis.write(workdir) if t.name == 'charged')
  assert list(dict.fromkeys(table.column('folder'))) == ['samples', 'opinions', 'models', 'scores']
  row = dict(zip(table.columns, next(r for r in table.rows if r[0] == 'opinions'), strict=True))
  assert (row['judge'], row['tokens']) == (3, 3)
  row = dict(zip(table.columns, next(r for r in table.rows if r[0] == 'models'), strict=True))
  assert (row['prompt'], row['validation'], row['tokens']) == (30, 70, 100)
  assert 'What each arm bought' in (workdir / 'report/index.html').read_text()


def test_an_arm_that_a_policy_has_not_decided_yet_is_named_and_the_sets_it_has_are_shown(workdir):
  (workdir / layout.allocation(1, 'hard_low') / layout.MANIFEST).unlink()
  results = read(workdir)
  assert results.missing == ('1 of 6 steps of the stage grade are not done: allocations/set1/hard_low; run it',)
  table = budgets.arms(results)
  problems = dict(zip(table.column('arm'), table.column('problems'), strict=True))
  assert problems == {'wc_low': 4, 'se_low': 4, 'hard_low': 2}


def test_a_damaged_allocation_is_named(workdir):
  (workdir / layout.allocation(1, 'hard_low') / layout.ALLOCATION).write_text('{')
  with pytest.raises(analysis.AnalysisError, match="what arm 'hard_low' of set 1 holds cannot be read"):
    read(workdir)
