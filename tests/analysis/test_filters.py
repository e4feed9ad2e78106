"""The table of filters, and its arrays beside the plain definition."""

from __future__ import annotations

import dataclasses

import numpy as np

from sweb_jax.analysis import filters, read
from sweb_jax.analysis.draws import Draws
from sweb_jax.analysis.judges import Opinions
from sweb_jax.curation import FILTERS, accepted
from sweb_jax.records import Problem, Sample, Verdict
from sweb_jax.tasks.grading import add_votes


def test_arrays_and_the_plain_definition_keep_the_same_samples():
  rng = np.random.default_rng(0)
  for _ in range(30):
    p, m, k = 6, 9, int(rng.integers(1, 10))
    samples, verdicts = [], []
    for i in range(p):
      for j in range(m):
        cut, said = rng.random() < 0.15, str(rng.integers(0, 4))
        answer = None if cut or said == '3' else said
        samples.append(Sample(f'{i}', j, 'x', (1,), 'length' if cut else 'stop', 0.0))
        verdicts.append(Verdict(f'{i}', j, answer, answer == '0', 'why'))
    verdicts = add_votes(lambda _, a, b: a == b, [Problem(f'{i}', '', '0') for i in range(p)], verdicts)
    right = rng.choice([0.0, 1.0, np.nan], (p, m))

    def array(values, dtype):
      return np.array(values, dtype).reshape(p, m)  # noqa: B023

    read = dict(
      correct=array([v.correct for v in verdicts], bool),
      truncated=array([s.finish == 'length' for s in samples], bool),
      votes=array([-1 if v.vote is None else v.vote for v in verdicts], int),
    )
    draws = Draws(**{f.name: np.zeros((p, m)) for f in dataclasses.fields(Draws)} | read)
    opinions = {(f'{i}', j): right[i, j] == 1 for i in range(p) for j in range(m)}
    found = filters.kept(draws.first(k), Opinions(np.ones((p, m), bool), right))
    for name in FILTERS:
      plain = accepted(name, samples, verdicts, first=k, opinions=opinions)
      mask = found.get(name, np.zeros((p, k), bool))  # Without any vote there is no majority.
      assert {(f'{i}', int(j)) for i, j in zip(*np.nonzero(mask), strict=True)} == plain, name


def test_the_table_says_how_much_of_what_is_kept_is_right(make_workdir):
  root = make_workdir()
  (table,) = filters.build(read(root), root)
  rows = {(r['arm'], r['filter']): r for r in (dict(zip(table.columns, row, strict=True)) for row in table.rows)}
  assert ('wc_low', 'judge') not in rows
  # Two samples a problem: right 2, 0 (set 0) and 2, 0 (set 1), all but the first problem's of set 1 with right steps.
  none = rows['wc_low', 'none']
  assert (none['kept'], none['samples'], none['precision'], none['recall']) == (8, 8, 0.5, 1.0)
  assert (none['precision, reasoning'], none['recall, reasoning']) == (0.375, 1.0)
  answer = rows['wc_low', 'answer']
  assert (answer['kept'], answer['precision'], answer['precision, reasoning']) == (4, 1.0, 0.75)
  # What the two samples of a problem say is always the same.
  assert [rows['wc_low', 'majority'][c] for c in ('kept', 'precision', 'recall')] == [8, 0.5, 1.0]
  assert [answer['examples of'], none['examples of']] == ['wc_low', '']
  assert answer['precision low'] <= answer['precision'] <= answer['precision high'] and answer['n'] == 4
