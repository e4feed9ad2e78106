"""Workdirs side by side, and the command that writes reports."""

from __future__ import annotations

import csv
import shutil
import subprocess
import sys

import pytest

from sweb_jax import layout
from sweb_jax.analysis import AnalysisError, read_tables
from sweb_jax.analysis.side_by_side import compare
from tests import forked


def run(*arguments):
  return forked.run('-m', 'sweb_jax.analysis', *arguments)


def test_workdirs_stand_side_by_side(make_workdir):
  one, two = make_workdir('one'), make_workdir('two', sets=(0,))
  shutil.rmtree(two / layout.scores(layout.TEST, 0, 'student', 'gold'))
  made = {table.name: table for table in compare([one, two])}
  accuracy = made['accuracy: greedy pass@1']
  assert accuracy.columns[2:] == ('one', 'one low', 'one high', 'two', 'two low', 'two high')
  found = {row[:2]: row[2:] for row in accuracy.rows}
  assert (found['student', 'wc_low'][0], found['student', 'wc_low'][3]) == (0.625, 0.75)
  assert found['student', 'gold'][3:] == (None, None, None)  # Not done there.
  [difference] = made['differences: difference'].rows
  assert (difference[:3], difference[5]) == (('low budget', 'student', 0.375), 0.5)
  assert 'two: hand-made <study>, 1 question set(s), not finished' in accuracy.note


def test_folders_of_one_name_are_told_apart(make_workdir, tmp_path):
  paths = [make_workdir('a/work'), make_workdir('b/work')]
  assert compare(paths)[0].columns[2::3] == tuple(map(str, paths))


def test_one_workdir_is_not_compared(make_workdir):
  with pytest.raises(AnalysisError, match='at least two'):
    compare([make_workdir()])


def test_the_command_writes_a_report_and_a_comparison_without_jax(make_workdir, tmp_path):
  root = make_workdir()
  shutil.rmtree(root / 'scores/test/set1')
  code = (
    'import sys, runpy\n'
    'try: runpy.run_module("sweb_jax.analysis", run_name="__main__")\n'
    'finally: assert not {"jax", "torch", "tensorflow"} & sys.modules.keys()'
  )
  done = subprocess.run([sys.executable, '-c', code, 'report', root], text=True, capture_output=True, check=False)
  assert done.returncode == 0, done.stderr
  assert 'Not finished: 4 of 8 steps of the stage evaluate' in done.stdout
  assert {t.name for t in read_tables(root)} >= {'data', 'accuracy', 'differences'}
  done = run('compare', root, make_workdir('two'), f'--out={tmp_path}/c.csv')
  assert done.returncode == 0, done.stderr
  header, *lines = csv.reader((tmp_path / 'c.csv').read_text().splitlines())
  assert header == ['table', 'figure', 'row', 'work', 'work low', 'work high', 'two', 'two low', 'two high']
  assert next(x for x in lines if x[:3] == ['data', 'coverage@k', 'wc_low'])[3] == '0.6667'
  assert 'greedy pass@1' in done.stdout


@pytest.mark.parametrize(
  ('arguments', 'code', 'said'),
  [
    (['report', 'nowhere'], 1, 'nowhere/study.json is missing: run the stage plan'),
    (['compare', 'nowhere'], 1, 'give at least two workdirs'),
    (['show'], 1, 'give report DIR, compare DIR DIR..., or labels'),
  ],
)
def test_wrong_arguments_are_named(arguments, code, said):
  done = run(*arguments)
  assert done.returncode == code
  assert said in done.stderr + done.stdout
  assert 'Traceback' not in done.stderr
