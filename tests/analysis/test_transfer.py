"""The tables of further test sets, counted by hand."""

from __future__ import annotations

import shutil

import pytest

from sweb_jax import layout, records
from sweb_jax.analysis import AnalysisError, read, read_tables, transfer, write
from sweb_jax.records import Problem, Sample, Verdict
from sweb_jax.runtime import files

# (set, source): right on the two problems of the test set.
RIGHT = {
  (0, 'base'): (0, 0), (1, 'base'): (1, 0), (0, 'wc_low'): (1, 1), (1, 'wc_low'): (1, 1),
  (0, 'se_low'): (1, 0), (1, 'se_low'): (0, 0), (0, 'gold'): (1, 1), (1, 'gold'): (1, 1),
}  # fmt: skip


def verdicts(s, run):
  """The file of a run's verdicts."""
  checkpoint = run if run == layout.BASE else layout.rate(0.0025)
  scores = layout.scores('other', s, 'student', run)
  return f'{scores}/{checkpoint}/{layout.GREEDY}/{layout.numbered(layout.VERDICTS, 0)}'


@pytest.fixture
def score(add_step):
  """A function: answers the problems of the test set, right or wrong."""

  def scored(root, s, run, right):
    add_step(root, layout.scores('other', s, 'student', run), {'problems': 2})
    rows = [Verdict(f'other{s}-{i}', 0, '7', bool(r), 'why') for i, r in enumerate(right)]
    files.write_text(root / verdicts(s, run), records.dumps(rows[::-1]))
    drawn = [Sample(v.problem_id, 0, ' 7', (4,), 'stop', -1.0) for v in rows]
    files.write_text((root / verdicts(s, run)).parent / layout.numbered(layout.CHUNKS, 0), records.dumps(drawn))

  return scored


@pytest.fixture
def root(make_workdir, change_study, add_step, score):
  root = make_workdir()
  change_study(root, tests={'other': 'svamp'})
  for s in (0, 1):
    folder = layout.problems(s, layout.transfer('other'))
    add_step(root, folder, {'problems': 2})
    problems = [Problem(f'other{s}-{i}', 'q', '7') for i in range(2)]
    files.write_text(root / folder / layout.PROBLEMS, records.dumps(problems))
  for (s, source), right in RIGHT.items():
    score(root, s, source, right)
  return root


def named(table):
  return [dict(zip(table.columns, row, strict=True)) for row in table.rows]


def test_accuracy_and_differences_of_every_learner_and_source(root):
  accuracy, differences = transfer.build(read(root), root)
  assert {r['source']: (r['greedy pass@1'], r['n']) for r in named(accuracy)} == {
    'base': (0.25, 4), 'wc_low': (1.0, 4), 'se_low': (0.25, 4), 'gold': (1.0, 4),
  }  # fmt: skip
  (row,) = named(differences)
  assert (row['test set'], row['A'], row['B'], row['difference'], row['n']) == ('other', 'wc_low', 'se_low', 0.75, 4)
  assert row['difference low'] < 0 and row['verdict'] == 'undecided at 95 %'  # 0.5 and 1: two sets say little.
  write(root)
  assert set(transfer.NAMES) <= {t.name for t in read_tables(root)}


def test_seeds_of_training_stand_side_by_side(root, change_study, score):
  change_study(root, seeds=2)
  for (s, source), right in RIGHT.items():
    if source != 'base':
      first, second = (layout.model(s, 'student', layout.run(source, seed)) for seed in (0, 1))
      shutil.copytree(root / first, root / second)
      score(root, s, layout.run(source, 1), [not r for r in right])
  results = read(root)
  scores, missing = transfer.read(root, results, results.study.tests, lambda _, verdict: verdict.correct)
  assert not missing and scores[0, 'other', 'student', 'wc_low'].tolist() == [[1, 1], [0, 0]]
  assert scores[1, 'other', 'student', 'base'].tolist() == [[1, 0]]
  accuracy, _ = transfer.build(results, root)
  assert {r['source']: (r['greedy pass@1'], r['n']) for r in named(accuracy)}['gold'] == (0.5, 4)


def test_what_is_not_there_is_named_and_the_rest_is_shown(root):
  shutil.rmtree(root / 'scores/other/set1/student/gold')
  accuracy, _ = transfer.build(read(root), root)
  assert [(r['source'], r['sets']) for r in named(accuracy)][-1] == ('gold', 1)
  assert accuracy.note.endswith('Not there yet: scores/other/set1/student/gold.')


def test_a_problem_without_a_verdict_names_the_file(root):
  path = root / verdicts(0, layout.BASE)
  path.write_text(path.read_text().splitlines()[0] + '\n')
  with pytest.raises(AnalysisError, match=r'scores/other/set0/student/base/base/greedy: .* no verdict'):
    transfer.build(read(root), root)


def test_damaged_problems_of_a_test_set_are_named(root):
  (root / 'problems/set1/transfer_other/problems.jsonl').write_text('{"id": ')
  with pytest.raises(AnalysisError, match=r'transfer_other/problems\.jsonl, line 1: not a Problem.*--repair'):
    transfer.build(read(root), root)


def test_a_study_without_further_test_sets_has_no_such_table(make_workdir):
  root = make_workdir()
  assert transfer.build(read(root), root) == []
