"""Agreement with published labels is counted right, and is as high as the grader is meant to reach."""

import gzip
import json
import os
from pathlib import Path

import pytest

from sweb_jax.answers.agreement import SHOWN, Agreement, Disagreement, agreement
from sweb_jax.answers.math_equal import Policy
from sweb_jax.records import RecordError

DATA = Path(os.environ.get('SWEB_TEST_DATA', Path(__file__).parents[2] / '../shared/data'))


def row(gold, solution, label, dataset='math'):
  return {'gold': gold, 'solution': solution, 'label': label, 'dataset': dataset}


def write(path, *rows):
  data = ''.join(json.dumps(r) + '\n' for r in rows).encode()
  path.write_bytes(gzip.compress(data) if path.suffix == '.gz' else data)
  return path


@pytest.mark.parametrize('name', ['rows.jsonl', 'rows.jsonl.gz'])
def test_rows_are_counted_by_how_verdict_and_label_differ(tmp_path, name):
  path = write(
    tmp_path / name,
    row('1/2', r'\boxed{0.5}', True),
    row('1/2', r'\boxed{0.6}', False),
    row('1/2', r'\boxed{0.5}', False),
    row('1/2', 'nothing', True),
    row('18', 'A: 18', True, 'gsm8k-test'),
    row('no number', 'A: 18', True, 'gsm8k-test'),
  )
  expected = (Disagreement(3, '1/2', '0.5', False), Disagreement(4, '1/2', None, True))
  assert agreement(path) == Agreement(name, 5, 3, 1, 1, expected, (6,))
  assert agreement(path).share == 0.6
  assert agreement(path, lenient=False).false_rejects == 2
  assert agreement(write(tmp_path / 'half.jsonl', row('1/2', r'\boxed{2/4}', True))).agreements == 1
  strict = Policy(unreduced_fractions=False)
  assert agreement(tmp_path / 'half.jsonl', policy=strict).false_rejects == 1


def test_only_the_first_disagreements_are_kept(tmp_path):
  found = agreement(write(tmp_path / 'rows.jsonl', *[row('1', r'\boxed{1}', False)] * (SHOWN + 5)))
  assert found.false_accepts == SHOWN + 5
  assert [d.line for d in found.disagreements] == list(range(1, SHOWN + 1))


@pytest.mark.parametrize(
  ('bad', 'message'),
  [
    ({'gold': '1', 'solution': '1', 'label': 'yes', 'dataset': 'math'}, "line 2.*'label'"),
    ({'gold': '1', 'label': True, 'dataset': 'math'}, "line 2.*'solution'"),
    (row('1', '1', True, 'chess'), 'line 2.*chess'),
  ],
)
def test_a_bad_row_is_named(tmp_path, bad, message):
  with pytest.raises(RecordError, match=message):
    agreement(write(tmp_path / 'rows.jsonl', row('1', r'\boxed{1}', True), bad))


def test_a_file_without_rows_is_an_error(tmp_path):
  with pytest.raises(RecordError, match='no row'):
    agreement(write(tmp_path / 'rows.jsonl'))


@pytest.mark.slow
@pytest.mark.parametrize(('name', 'rows'), [('gsm8k_openai', 5276), ('math_qwen100x8', 800)])
def test_it_agrees_with_published_labels(name, rows):
  path = DATA / 'labelled_outputs' / f'{name}.jsonl.gz'
  if not path.exists():
    pytest.skip(f'{path} is absent; set SWEB_TEST_DATA')
  found = agreement(path)
  assert found.n == rows
  assert found.share >= 0.998, found
