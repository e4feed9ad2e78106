"""Difficulty, problems that one side solves, pass@k, on a workdir whose figures can be counted by hand."""

from __future__ import annotations

import dataclasses

import numpy as np
import pytest

from sweb_jax import layout, records
from sweb_jax.analysis import breakdowns, read
from sweb_jax.records import Problem


def rows(table):
  return [dict(zip(table.columns, row, strict=True)) for row in table.rows]


def test_problems_that_only_one_side_solves_are_counted_both_ways(make_workdir):
  [row] = rows(breakdowns.one_sided(read(make_workdir())))
  # Of the first two samples of wc and the first of se: set 0 wc solves problem 0, as se does; set 1 wc problem 0 alone.
  assert [row[c] for c in ('only A', 'only B', 'both', 'neither', 'sets', 'n')] == [1, 0, 1, 2, 2, 4]
  assert (row['share only A'], row['share only B'], row['share only B low']) == (0.25, 0, 0)


def test_levels_of_the_task_split_coverage_and_accuracy(make_workdir):
  root = make_workdir()
  for s in (0, 1):
    for split in ('train', 'test'):
      path = root / layout.problems(s, split) / layout.PROBLEMS
      found = list(records.read(Problem, path))
      levels = ['Level 1', *['Level 5'] * (len(found) - 1)]
      path.write_text(records.dumps(dataclasses.replace(p, level=x) for p, x in zip(found, levels, strict=True)))
  found = {(r['figure'], r['source'], r['level']): r for r in rows(breakdowns.by_level(read(root)))}
  # Coverage@2 of 3 samples: level 1 is the first problem, 1 and 1; level 5 the second, 2/3 and 0.
  assert found['coverage@2', 'wc_low', 'Level 1']['value'] == 1
  assert found['coverage@2', 'wc_low', 'Level 5']['value'] == pytest.approx(1 / 3, abs=1e-4)
  assert found['coverage@2', 'wc_low', 'Level 5']['n'] == 2
  greedy = found['greedy pass@1', 'wc_low', 'Level 5']
  assert (greedy['value'], greedy['n'], greedy['learner']) == (0.5, 6, 'student')  # 2/3 and 1/3.


def test_without_levels_problems_are_split_by_how_often_the_other_generators_are_right(make_workdir):
  table = breakdowns.by_level(read(make_workdir()))
  found = {(r['source'], r['level']): r for r in rows(table) if r['figure'].startswith('coverage')}
  # se solves one of two problems in set 0; the other and both of set 1 are the harder third, with all of their rate.
  assert found['wc_low', '1 hard']['n'] == 3
  assert found['wc_low', '3 easy']['n'] == 1
  assert found['wc_low', '3 easy']['value'] == 1
  assert found['wc_low', '1 hard']['sets'] == 2
  # wc is right in 2 and 1 of 3 samples in set 0, in 2 and none in set 1: se solves the easier problem of set 0.
  assert (found['se_low', '3 easy']['value'], found['se_low', '3 easy']['n']) == (0.5, 2)
  assert (found['se_low', '1 hard']['value'], found['se_low', '1 hard']['n']) == (0, 2)
  assert 'the other generators' in table.note


def test_luck_does_not_make_levels(make_workdir):
  """Where every problem is as hard as any other, so are all thirds: no side is rated by its own successes."""
  results = read(make_workdir())
  rng = np.random.default_rng(0)
  problems, drawn = 3_000, {}
  for g, count in (('wc', 3), ('se', 1)):
    correct = rng.random((problems, count)) < 0.3
    like = results.drawn[0, g]
    repeated = {f.name: np.resize(getattr(like, f.name), correct.shape) for f in dataclasses.fields(like)}
    drawn[0, g] = dataclasses.replace(like, **repeated | {'correct': correct})
  study = dataclasses.replace(results.study, question_sets=(0,))
  table = breakdowns.by_level(dataclasses.replace(results, study=study, drawn=drawn, levels={}))
  found = [r for r in rows(table) if r['figure'].startswith('coverage')]
  assert {r['source'] for r in found} == {'wc_low', 'se_low'}
  for r in found:
    expected = 1 - 0.7 ** (2 if r['source'] == 'wc_low' else 1)
    assert r['value'] == pytest.approx(expected, abs=4 * (0.25 / r['n']) ** 0.5)  # Four standard errors.


def test_pass_at_k_for_every_power_of_two(make_workdir):
  found = {(r['source'], r['k']): r for r in rows(breakdowns.pass_k(read(make_workdir())))}
  assert [k for source, k in found if source == 'gold'] == [1, 2, 3]
  # Two of three drawn are right for a problem solved greedily, else one of three.
  assert found['gold', 2]['pass@k'] == 1
  assert found['base', 2]['pass@k'] == pytest.approx((2 / 3 + (1 + 3 * 2 / 3) / 4) / 2, abs=1e-4)
  assert found['base', 2]['drawn'] == 3
