"""The table of graders, on verdicts whose every figure can be counted by hand."""

from __future__ import annotations

import dataclasses

from sweb_jax import layout, records
from sweb_jax.analysis import graders, read, read_tables, write
from sweb_jax.records import Verdict


def regrade(root, change):
  """Rewrites every verdict that the report reads."""
  for path in root.rglob(layout.VERDICTS):
    verdicts = [change(v) for v in records.read(Verdict, path)]
    path.write_text(records.dumps(verdicts))


def rows(root):
  [table] = graders.build(read(root))
  return {(r['figure'], r['source']): r for r in (dict(zip(table.columns, row, strict=True)) for row in table.rows)}


def test_a_task_of_one_reading_has_no_such_table(make_workdir):
  assert graders.build(read(make_workdir())) == []


def test_readings_and_graders_stand_side_by_side(make_workdir):
  root = make_workdir()

  def change(v):
    if v.index == 0 and v.answer == '7':  # Right, but only loosely said; math-verify differs.
      return dataclasses.replace(
        v, answer=None, correct=False, lenient='7', lenient_correct=True, second_opinion=False, second_reason='differs'
      )
    if v.answer is None:
      return dataclasses.replace(v, lenient_correct=False)
    if v.answer == '8' and v.index == 1:
      return dataclasses.replace(v, lenient='8', lenient_correct=False, second_reason='timed out')
    return dataclasses.replace(
      v, lenient=v.answer, lenient_correct=v.correct, second_opinion=v.correct, second_reason='agrees'
    )

  regrade(root, change)
  found = rows(root)
  # wc, M = 3: right by problem and set [[1, 1, 0], [0, 0, 1]], [[1, 1, 0], [0, 0, 0]]; strictly, sample 0 never is.
  wc = found['coverage@2', 'wc_low']
  assert wc['own, lenient'] == round((1 + 2 / 3 + 1 + 0) / 4, 4)
  assert wc['own, strict'] == wc['math-verify, lenient'] == wc['math-verify, strict'] == 0.5
  assert (wc['differ'], wc['no opinion'], wc['asked'], wc['samples'], wc['n']) == (2, 2, 8, 8, 4)
  # One greedy sample a problem, of index 0.
  greedy = found['greedy pass@1', 'wc_low']
  assert (greedy['own, strict'], greedy['own, lenient'], greedy['math-verify, lenient']) == (0, 0.625, 0)
  assert (greedy['differ'], greedy['no opinion'], greedy['samples'], greedy['n']) == (5, 0, 8, 8)
  assert found['greedy pass@1', 'gold']['own, lenient low'] > 0.6
  # It is written with the others and read back.
  write(root)
  assert [t.name for t in read_tables(root)][-1] == graders.NAME
  page = (root / 'report/index.html').read_text()
  assert 'The same solutions under either grader' in page
  assert 'no answer, math-verify differs' in page


def test_math_verify_may_find_right_what_the_own_grader_does_not(make_workdir):
  root = make_workdir(sets=(0,))
  regrade(root, lambda v: v if v.answer is None else dataclasses.replace(
    v, lenient=v.answer, lenient_correct=v.correct, second_opinion=True, second_reason='')
    if v.correct else dataclasses.replace(
      v, lenient=v.answer, lenient_correct=False, second_opinion=True, second_reason='differs'))
  se = rows(root)['coverage@1', 'se_low']
  assert (se['own, strict'], se['math-verify, strict']) == (0.5, 1)
  assert se['differ'] == 1


def test_without_second_opinions_their_cells_are_empty(make_workdir):
  root = make_workdir()
  regrade(root, lambda v: dataclasses.replace(v, lenient=v.answer, lenient_correct=v.correct))
  row = rows(root)['greedy pass@1', 'gold']
  assert (row['own, strict'], row['own, lenient']) == (1, 1)
  assert row['math-verify, strict'] is row['math-verify, strict low'] is row['differ'] is row['asked'] is None
