from __future__ import annotations

import json

import pytest

from sweb_jax.analysis import AnalysisError, read


def test_rows_land_by_problem_and_index_whatever_their_order(make_workdir):
  results = read(make_workdir())
  wc = results.drawn[0, 'wc']
  assert wc.correct.tolist() == [[True, True, False], [False, False, True]]
  assert wc.truncated.tolist() == [[False, False, True], [False, False, False]]
  assert wc.tokens.tolist() == [[2, 3, 4], [2, 2, 2]]
  assert wc.keys[0, 0] == wc.keys[0, 1] != wc.keys[1, 0]
  assert wc.answered.tolist() == [[True, True, False], [True, True, True]]
  assert results.selections[1, 'student', 'gold'].step == 76
  assert results.sampled[1, 'student', 'base'].correct.shape == (4, 3)


def test_excerpts_are_the_first_problems_of_the_first_set(make_workdir):
  excerpts = read(make_workdir(), excerpts=1, shown=2).excerpts
  assert [e.problem.id for e in excerpts] == ['train0-0']
  assert [(s.index, v.correct) for s, v in excerpts[0].samples['wc']] == [(0, True), (1, True)]
  assert len(excerpts[0].samples['se']) == 1


@pytest.mark.parametrize(
  ('path', 'stage'),
  [
    ('plan/plan.json', 'plan'),
    ('config.json', 'plan'),
    ('problems/set1/train.jsonl', 'plan'),
    ('grades/set0/se.jsonl', 'grade'),
    ('train/set1/student/gold/selection.json', 'train'),
    ('evaluate/set0/student/base/greedy.jsonl', 'evaluate'),
    ('evaluate/set1/student/wc_low/drawn.verdicts.jsonl', 'evaluate'),
  ],
)
def test_a_missing_file_is_named_with_the_stage_to_run(make_workdir, path, stage):
  root = make_workdir()
  (root / path).unlink()
  with pytest.raises(AnalysisError, match=f'{path} is missing: run the stage {stage}'):
    read(root)


def test_samples_that_were_never_drawn_are_named(make_workdir):
  root = make_workdir()
  for chunk in (root / 'samples/set0/wc').iterdir():
    chunk.unlink()
  with pytest.raises(AnalysisError, match=r'samples/set0/wc/chunk-\*.jsonl is missing: run the stage sample'):
    read(root)


def test_a_chunk_that_is_not_there_yet_is_noticed(make_workdir):
  root = make_workdir()
  (root / 'samples/set0/wc/chunk-00000.jsonl').unlink()
  with pytest.raises(AnalysisError, match="2 of 4 rows; problem 'train0-1' has no index 0; run the stage sample"):
    read(root)


def test_a_missing_verdict_is_noticed(make_workdir):
  root = make_workdir()
  path = root / 'grades/set1/wc.jsonl'
  path.write_text(''.join(path.read_text().splitlines(keepends=True)[1:]))
  with pytest.raises(AnalysisError, match=r"grades/set1/wc.jsonl: 5 of 6 rows; problem 'train1-1' has no index 2"):
    read(root)


def test_a_row_of_another_question_set_is_refused(make_workdir):
  root = make_workdir()
  path = root / 'grades/set1/wc.jsonl'
  path.write_text((root / 'grades/set0/wc.jsonl').read_text())
  with pytest.raises(AnalysisError, match="'train0-1' is not in this question set"):
    read(root)


def test_a_torn_file_is_named_with_its_line(make_workdir):
  root = make_workdir()
  path = root / 'grades/set1/wc.jsonl'
  path.write_text(path.read_text()[:-20])
  with pytest.raises(AnalysisError, match=r'grades/set1/wc.jsonl, line 6: not a Verdict.*stage grade'):
    read(root)


def test_a_plan_that_names_an_unknown_arm_is_refused(make_workdir):
  root = make_workdir()
  plan = json.loads((root / 'plan/plan.json').read_text())
  plan['comparisons'][0]['b'] = 'se_high'
  (root / 'plan/plan.json').write_text(json.dumps(plan))
  with pytest.raises(AnalysisError, match="comparisons names \\['se_high'\\]"):
    read(root)


def test_a_plan_without_a_field_is_refused(make_workdir):
  root = make_workdir()
  plan = json.loads((root / 'plan/plan.json').read_text())
  del plan['maj_k']
  (root / 'plan/plan.json').write_text(json.dumps(plan))
  with pytest.raises(AnalysisError, match=r"plan.json: the field 'maj_k' is missing"):
    read(root)


def test_answers_that_were_graded_without_votes_are_not_counted_as_votes(make_workdir):
  root = make_workdir()
  path = root / 'evaluate/set0/student/gold/drawn.verdicts.jsonl'
  rows = [json.loads(line) for line in path.read_text().splitlines()]
  old = ('problem_id', 'index', 'answer', 'correct', 'reason', 'valid')
  path.write_text(''.join(json.dumps({k: row[k] for k in old}) + '\n' for row in rows))
  with pytest.raises(AnalysisError, match=r'gold/drawn.verdicts.jsonl: answers have no vote .* stage evaluate again'):
    read(root)
