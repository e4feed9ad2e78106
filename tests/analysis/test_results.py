from __future__ import annotations

import dataclasses
import json
import re
import shutil

import numpy as np
import pytest
from etils import epath

from sweb_jax import layout
from sweb_jax.analysis import AnalysisError, read, write
from sweb_jax.runtime import manifest

REPAIR = '`python -m sweb_jax.study check WORKDIR --repair` makes again what is damaged'


def test_rows_land_by_problem_and_index_whatever_their_order(make_workdir):
  results = read(make_workdir())
  wc = results.drawn[0, 'wc']
  assert wc.correct.tolist() == [[True, True, False], [False, False, True]]
  assert wc.truncated.tolist() == [[False, False, True], [False, False, False]]
  assert wc.tokens.tolist() == [[2, 3, 4], [2, 2, 2]]
  assert wc.keys[0, 0] == wc.keys[0, 1] != wc.keys[1, 0]
  assert wc.equations[0, 0] == wc.keys[0, 0]  # No equations in it: the text stands for itself.
  assert wc.answered.tolist() == [[True, True, False], [True, True, True]]
  assert [c.step for c in results.selections[1, 'student', 'gold']] == [76]
  assert [d.correct.shape for d in results.sampled[1, 'student', 'base']] == [(4, 3)]


def test_who_waits_for_a_report_hears_that_it_gets_on(make_workdir):
  reading, writing, workdir = [], [], make_workdir()
  results = read(workdir, progressed=lambda: reading.append(1))
  evaluations = sum(len(seeds) for found in (results.greedy, results.sampled) for seeds in found.values())
  assert len(reading) == len(results.drawn) + evaluations > 2
  write(workdir, progressed=lambda: writing.append(1))
  assert len(writing) > len(reading)


def test_excerpts_are_the_first_problems_of_the_first_set(make_workdir):
  excerpts = read(make_workdir(), excerpts=1, shown=2).excerpts
  assert [e.problem.id for e in excerpts] == ['train0-0']
  assert [(s.index, v.correct) for s, v in excerpts[0].samples['wc']] == [(0, True), (1, True)]
  assert len(excerpts[0].samples['se']) == 1


@pytest.mark.parametrize(
  ('path', 'advice'),
  [
    ('study.json', 'is missing: run the stage plan'),
    ('config.json', 'is missing: run the stage plan'),
    ('problems/set1/train/problems.jsonl', REPAIR),
    ('verdicts/set0/se/verdicts-*.jsonl', REPAIR),
    ('models/set1/student/gold/selection.json', REPAIR),
    ('scores/test/set0/student/base/base/greedy/chunk-*.jsonl', REPAIR),
    ('scores/test/set1/student/wc_low/rate_0.0025/drawn/verdicts-*.jsonl', REPAIR),
  ],
)
def test_a_missing_file_is_named_with_what_to_do(make_workdir, path, advice):
  root = make_workdir()
  for file in root.glob(path):
    file.unlink()
  with pytest.raises(AnalysisError, match=f'{re.escape(path)}.* {advice}'):
    read(root)


def change_manifest(root, folder, **fields):
  root = epath.Path(root)
  manifest.write(root, folder, dataclasses.replace(manifest.read(root, folder), **fields))


def test_a_step_that_was_begun_and_not_finished_is_left_out_with_all_its_files(make_workdir):
  root = make_workdir()
  for folder in ('samples/set1/wc', 'scores/test/set0/student/gold'):
    change_manifest(root, folder, done=False)
  results = read(root)
  assert set(results.drawn) == {(0, 'wc'), (0, 'se'), (1, 'se')}
  assert (0, 'student', 'gold') not in results.greedy
  assert results.generators == ('se',)
  assert results.missing == (
    '1 of 4 steps of the stage sample are not done: samples/set1/wc; run it',
    '1 of 8 steps of the stage evaluate are not done: scores/test/set0/student/gold; run it',
  )


@pytest.mark.parametrize('change', [{'version': 'other'}, {'extent': {'problems': 2, 'samples': 2}}])
def test_a_step_of_another_version_or_that_has_not_gone_far_enough_is_not_done(make_workdir, change):
  root = make_workdir()
  change_manifest(root, 'samples/set1/wc', **change)
  results = read(root)
  assert (1, 'wc') not in results.drawn
  assert results.missing == ('1 of 4 steps of the stage sample are not done: samples/set1/wc; run it',)


def test_a_step_without_a_result_is_named_with_the_steps_that_depend_on_it(make_workdir):
  root = make_workdir()
  model, why = 'models/set0/student/wc_low', 'all 3 examples are too long'
  for folder, reason in ((model, why), ('scores/test/set0/student/wc_low', f'{model}: {why}')):
    shutil.rmtree(root / folder / 'rate_0.0025', ignore_errors=True)
    change_manifest(root, folder, nothing=reason)
  results = read(root)
  assert (0, 'student', 'wc_low') not in results.greedy and not results.missing
  assert results.nothing == (f'{model}: no data: {why} (1 steps depend on it)',)
  write(root)
  page = (root / layout.INDEX).read_text()
  assert 'Without a result' in page and why in page and 'not finished' not in page


def test_what_a_larger_study_left_in_the_workdir_is_not_counted(make_workdir, change_study):
  """Its steps have gone further than is asked: two of the test problems, and two of three samples."""
  root = make_workdir()
  steps = json.loads((root / layout.STUDY).read_text())['steps']
  fewer = {'samples/set0/wc': {'samples': 2}, 'verdicts/set0/wc': {'samples': 2}, 'problems/set0/test': {'problems': 2}}
  change_study(root, steps=[s | {'extent': s['extent'] | fewer.get(s['folder'], {})} for s in steps])
  results = read(root)
  assert not results.missing
  assert results.drawn[0, 'wc'].correct.tolist() == [[True, True], [False, False]]
  assert [d.correct[:, 0].tolist() for d in results.greedy[0, 'student', 'se_low']] == [[True, False]]
  assert results.drawn[1, 'wc'].correct.shape == (2, 3)


def test_every_seed_of_a_source_is_read_and_what_is_not_done_is_named(make_workdir, change_study, add_step):
  root = make_workdir()
  change_study(root, seeds=2)
  for kind, extent in (('models', {}), ('scores/test', {'problems': 4, 'votes': 3})):
    for s in (0, 1):
      for source in ('wc_low', 'se_low', 'gold'):
        add_step(root, f'{kind}/set{s}/student/{source}.seed1', extent)
        shutil.rmtree(root / f'{kind}/set{s}/student/{source}.seed1')
    shutil.copytree(root / f'{kind}/set0/student/gold', root / f'{kind}/set0/student/wc_low.seed1')
  results = read(root)
  greedy = results.greedy[0, 'student', 'wc_low']
  assert [d.correct[:, 0].tolist() for d in greedy] == [[True, True, True, False], [True] * 4]
  assert len(results.greedy[0, 'student', 'base']) == len(results.greedy[1, 'student', 'wc_low']) == 1
  assert '5 of 12 steps of the stage train are not done: models/set0/student/se_low.seed1, ' in results.missing[0]


def test_a_stop_token_is_told_from_a_stop_string_where_the_study_knows_it(make_workdir, change_study):
  root = make_workdir()
  assert np.isnan(read(root).drawn[0, 'wc'].stopped).all()
  change_study(root, stop_ids={'wc': [1]})
  # Tokens of a text of n letters are 0..n: one that ends by 1 has one letter.
  assert read(root).drawn[0, 'wc'].stopped.tolist() == [[1, 0, 0], [1, 1, 1]]


def test_samples_that_were_never_drawn_are_named(make_workdir):
  root = make_workdir()
  for chunk in (root / 'samples/set0/wc').glob(layout.CHUNKS):
    chunk.unlink()
  with pytest.raises(AnalysisError, match=r'samples/set0/wc/chunk-\*.jsonl is missing.*--repair'):
    read(root)


def test_a_chunk_that_is_not_there_yet_is_noticed(make_workdir):
  root = make_workdir()
  (root / 'samples/set0/wc/chunk-000000.jsonl').unlink()
  with pytest.raises(AnalysisError, match=r"2 of 6 rows; problem 'train0-0' has no index 2; .*--repair"):
    read(root)


def test_a_missing_verdict_is_noticed(make_workdir):
  root = make_workdir()
  path = root / 'verdicts/set1/wc/verdicts-000000.jsonl'
  path.write_text(''.join(path.read_text().splitlines(keepends=True)[1:]))
  with pytest.raises(AnalysisError, match=r"verdicts/set1/wc: 5 of 6 rows; problem 'train1-1' has no index 2"):
    read(root)


def test_a_row_of_another_question_set_is_refused(make_workdir):
  root = make_workdir()
  path = root / 'verdicts/set1/wc/verdicts-000000.jsonl'
  path.write_text((root / 'verdicts/set0/wc/verdicts-000000.jsonl').read_text())
  with pytest.raises(AnalysisError, match="'train0-1' is not in this question set"):
    read(root)


def test_a_torn_file_is_named_with_its_line(make_workdir):
  root = make_workdir()
  path = root / 'verdicts/set1/wc/verdicts-000000.jsonl'
  path.write_text(path.read_text()[:-20])
  with pytest.raises(AnalysisError, match=r'wc/verdicts-000000\.jsonl, line 6: not a Verdict.*--repair'):
    read(root)


def test_a_study_that_names_an_unknown_arm_is_refused(make_workdir, change_study):
  root = make_workdir()
  change_study(root, comparisons=[{'name': 'low budget', 'a': 'wc_low', 'b': 'se_high'}])
  with pytest.raises(AnalysisError, match="comparisons names \\['se_high'\\]"):
    read(root)


def test_a_study_without_a_field_is_refused(make_workdir):
  root = make_workdir()
  study = json.loads((root / layout.STUDY).read_text())
  del study['arms']
  (root / layout.STUDY).write_text(json.dumps(study))
  with pytest.raises(AnalysisError, match=r"study.json: field 'arms' is missing"):
    read(root)


def test_answers_that_were_graded_without_votes_are_not_counted_as_votes(make_workdir):
  root = make_workdir()
  path = root / 'scores/test/set0/student/gold/rate_0.0025/drawn/verdicts-000000.jsonl'
  rows = [json.loads(line) for line in path.read_text().splitlines()]
  old = ('problem_id', 'index', 'answer', 'correct', 'reason', 'valid')
  path.write_text(''.join(json.dumps({k: row[k] for k in old}) + '\n' for row in rows))
  with pytest.raises(AnalysisError, match=r'gold/rate_0.0025/drawn: answers have no vote .*--repair'):
    read(root)
