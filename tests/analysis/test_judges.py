"""The table of judges, counted by hand."""

from __future__ import annotations

import pytest

from sweb_jax import layout, records
from sweb_jax.analysis import AnalysisError, judges, read, read_tables, write
from sweb_jax.answers.judge import Opinion
from sweb_jax.runtime import files


@pytest.mark.parametrize(
  ('rate', 'sensitivity', 'specificity', 'wanted'),
  [(0.26, 0.8, 0.9, 0.16 / 0.7), (0.3, 1.0, 1.0, 0.3), (0.05, 0.8, 0.9, 0.0), (0.95, 0.8, 0.9, 1.0)],
)
def test_rogan_and_gladen(rate, sensitivity, specificity, wanted):
  assert judges.rogan_gladen(rate, sensitivity, specificity) == pytest.approx(wanted)


def test_a_judge_that_guesses_corrects_nothing():
  with pytest.raises(ValueError, match='those of a guess'):
    judges.rogan_gladen(0.3, 0.5, 0.5)


def judged(root, says) -> dict:
  """Writes opinions (set, problem, index, right) on WC's samples and gives the table's rows by arm."""
  for s in (0, 1):
    rows = [Opinion(f'train{s}-{p}', i, right, 3, 9) for t, p, i, right in says if t == s]
    path = root / layout.opinions(s, 'wc', layout.KEPT) / layout.OPINIONS
    files.write_text(path, records.dumps(rows))
  (table,) = judges.build(read(root), root)
  return {row[0]: dict(zip(table.columns, row, strict=True)) for row in table.rows} | {'note': table.note}


def test_rates_are_of_opinions_and_silence_is_counted(make_workdir):
  """Kept of WC in set 0: (0, 0), (0, 1) right and (1, 2) wrong steps; in set 1: (0, 0) right, (0, 1) wrong steps."""
  root = make_workdir()
  rows = judged(root, [
    (0, 0, 0, True), (0, 0, 1, None), (0, 1, 2, False),
    (1, 0, 0, True), (1, 0, 1, False),
  ])  # fmt: skip
  wc = rows['wc_low']  # Of its two samples a problem; (1, 2) of set 0 is not the arm's.
  assert 'se_low' not in rows
  assert (wc['FPR'], wc['no opinion'], wc['judged'], wc['kept']) == (0.25, 0.25, 4, 4)
  assert (wc['precision'], wc['recall']) == (1.0, 1.0)
  assert wc['FPR corrected'] == 0.25 and '1.000 of the wrong and 1.000 of the right' in rows['note']
  write(root)
  assert judges.NAME in [t.name for t in read_tables(root)]


def test_the_correction_is_by_errors_over_all_arms_and_left_out_for_a_guess(make_workdir):
  root = make_workdir()
  says = [(0, 0, 0, True), (0, 0, 1, False), (0, 1, 2, False), (1, 0, 0, True), (1, 0, 1, False)]
  wc = judged(root, says)['wc_low']
  # Sensitivity 2/2; specificity 2/3: of the two samples of each set one is called wrong, 1/2.
  assert wc['FPR'] == 0.5 and wc['FPR corrected'] == pytest.approx((1 / 2 + 2 / 3 - 1) / (1 + 2 / 3 - 1), abs=1e-4)
  rows = judged(root, [(s, p, i, not right) for s, p, i, right in says])
  assert rows['wc_low']['FPR corrected'] is None and 'not known' in rows['note']


def test_an_opinion_on_no_sample_names_the_file(make_workdir):
  root = make_workdir()
  with pytest.raises(AnalysisError, match=r'opinions/set0/wc/kept/opinions\.jsonl: cannot be read, or is of no sample'):
    judged(root, [(0, 7, 0, True)])
