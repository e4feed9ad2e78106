"""TFDS builders: prepared without TensorFlow, and the same problems as from the files they were made of."""

import contextlib
import functools
import gzip
import http.server
import json
import os
import pathlib
import subprocess
import sys
import threading

import pytest

from sweb_jax import tasks
from sweb_jax.tasks import TaskError, tfds
from sweb_jax.tasks.gsm8k import FEW_SHOT_ROWS
from sweb_jax.tasks.math import FEW_SHOT

ROOT = pathlib.Path(__file__).parents[2]
DATA = pathlib.Path(os.environ.get('SWEB_TEST_DATA', ROOT / '../shared/data'))
COUNTS = {
  'gsm8k': {'train': 7_473, 'test': 1_319},
  'math': {'train': 7_500, 'math500': 500, 'test': 5_000},
  'functional_math': {'test': 1_745},
  'svamp': {'test': 1_000},
  'mbpp': {'prompt': 10, 'test': 500, 'validation': 90, 'train': 374},
  'humaneval': {'test': 164},
}


def math_row(number, split='train', **change):
  return {
    'id': f'{split}/prealgebra/{number}',
    'problem': f'In {split}, what is ${number}+2$?\u2028',
    'level': f'Level {number % 5 + 1}' if number % 7 else 'Level ?',
    'type': 'Prealgebra',
    'solution': f'Adding gives\n\n$\\boxed{{{number + 2}}}$.',
  } | change


def math500_row(number):
  return {
    'problem': f'Of the 500, what is ${number}+2$?',
    'solution': f'It is $\\boxed{{{number + 2}}}$.',
    'answer': str(number + 2),
    'subject': 'Algebra',
    'level': number % 5 + 1,
    'unique_id': f'test/algebra/{number}.json',
  }


def rows_of(name):
  """The rows of a small file of each kind."""
  return {
    'gsm8k/train': [{'question': f'Why {i}?', 'answer': f'So.\n#### {i:,}'} for i in range(max(FEW_SHOT_ROWS) + 9)],
    'gsm8k/test': [{'question': f'Why not {i}?', 'answer': f'So.\n#### -{i + 1}'} for i in range(9)],
    'math/train': [math_row(i) for i in range(540)] + [math_row(9_000 + i, id=n) for i, n in enumerate(FEW_SHOT)],
    'math/test': [math_row(i, 'test') for i in range(30)],
    'math500/test': [math500_row(i) for i in range(9)],
    'functional_math/Oct-2023': [math_row(i, 'test', solution=f'\\boxed{{{i}.25}}') for i in range(9)],
    'svamp/test': [
      {'ID': f'chal-{i}', 'Body': f'Ann has {i}.', 'Question': 'How many?', 'Answer': 16_777_217.0 + i, 'Type': 'Add'}
      for i in range(9)
    ],
  }[name]


@pytest.fixture(scope='module')
def files(tmp_path_factory):
  """A folder of small files of every kind."""
  folder = tmp_path_factory.mktemp('files')
  for name in ('gsm8k/train', 'gsm8k/test', 'math/train', 'math/test', 'math500/test', 'svamp/test'):
    dump(folder / f'{name}.jsonl', rows_of(name))
  path = folder / 'functional_math/Oct-2023.jsonl'
  dump(path, rows_of('functional_math/Oct-2023'))
  path.with_suffix('.jsonl.gz').write_bytes(gzip.compress(path.read_bytes()))
  path.unlink()
  return folder


@pytest.fixture(scope='module')
def prepared(files, tmp_path_factory):
  """A folder that all of them were prepared in."""
  folder = tmp_path_factory.mktemp('prepared')
  for dataset in ('gsm8k', 'math', 'functional_math', 'svamp'):
    tfds.prepare(dataset, folder, files)
  return folder


def dump(path, rows):
  path.parent.mkdir(parents=True, exist_ok=True)
  path.write_text(''.join(json.dumps(r) + '\n' for r in rows))


def every(name, data_dir):
  """All problems of a task by split, and its worked examples."""
  task = tasks.get(name, data_dir=str(data_dir))
  return {s: task.problems(s, len(found), 0) for s, found in task._splits.items()}, task.few_shot()


@contextlib.contextmanager
def served(folder):
  """The address of a web server for the files of a folder."""
  handler = functools.partial(http.server.SimpleHTTPRequestHandler, directory=folder)
  with http.server.ThreadingHTTPServer(('127.0.0.1', 0), handler) as server:
    thread = threading.Thread(target=server.serve_forever)
    thread.start()
    try:
      yield f'http://127.0.0.1:{server.server_port}'
    finally:
      server.shutdown()
      thread.join()


@pytest.mark.parametrize('name', ['gsm8k', 'math', 'functional_math', 'svamp'])
def test_a_task_reads_the_same_problems_from_files_and_from_tfds(files, prepared, name):
  assert every(name, f'tfds:{prepared}') == every(name, files / name)


def test_rows_come_in_the_order_of_the_file(files, prepared):
  assert tfds.rows('gsm8k', prepared, 'train') == rows_of('gsm8k/train')
  assert [r['id'] for r in tfds.rows('math', prepared, 'train')] == [r['id'] for r in rows_of('math/train')]


def test_numbers_that_32_bits_cannot_hold_are_kept(prepared):
  assert tfds.rows('svamp', prepared, 'test')[0]['Answer'] == '16777217.0'


def test_neither_preparing_nor_reading_imports_tensorflow(files, tmp_path):
  script = (
    'import sys\n'
    'from sweb_jax import tasks\n'
    'from sweb_jax.tasks import tfds\n'
    f'tfds.prepare("math", {str(tmp_path)!r}, {str(files)!r})\n'
    f'tasks.get("math", data_dir="tfds:" + {str(tmp_path)!r}).problems("test", 9, 0)\n'
    'print(sorted(m for m in sys.modules if m.split(".")[0] in ("tensorflow", "jax")))\n'
  )
  run = subprocess.run([sys.executable, '-c', script], cwd=ROOT, capture_output=True, text=True, timeout=120)
  assert run.returncode == 0, run.stderr
  assert run.stdout.splitlines()[-1] == '[]'
  assert list(tmp_path.glob('math/1.0.0/*.array_record*'))


def test_reading_files_does_not_import_tfds(files):
  script = (
    'import sys\n'
    'from sweb_jax import tasks\n'
    f'tasks.get("svamp", data_dir={str(files)!r})\n'
    'print("tensorflow_datasets" in sys.modules)\n'
  )
  run = subprocess.run([sys.executable, '-c', script], cwd=ROOT, capture_output=True, text=True, timeout=120)
  assert run.stdout.splitlines()[-1] == 'False', run.stderr


def test_the_archive_of_the_authors_gives_the_same_problems(files, prepared, tmp_path):
  for name in ('math/train', 'math/test'):
    for row in rows_of(name):
      path = tmp_path / 'files/MATH' / f'{row["id"]}.json'
      path.parent.mkdir(parents=True, exist_ok=True)
      path.write_text(json.dumps({k: v for k, v in row.items() if k != 'id'}))
  dump(tmp_path / 'files/math500.jsonl', rows_of('math500/test'))
  tfds.prepare('math', tmp_path / 'prepared', tmp_path / 'files')
  found, shots = every('math', f'tfds:{tmp_path / "prepared"}')
  expected, expected_shots = every('math', files / 'math')
  assert shots == expected_shots
  assert {k: set(v) for k, v in found.items()} == {k: set(v) for k, v in expected.items()}


def test_files_that_the_user_has_not_are_downloaded_from_the_public_address(files, prepared, tmp_path, monkeypatch):
  from sweb_jax.tasks.tfds import gsm8k, svamp

  with served(files) as address:
    monkeypatch.setattr(svamp, 'URL', f'{address}/svamp/test.jsonl')
    monkeypatch.setattr(gsm8k, 'URLS', {s: f'{address}/gsm8k/{s}.jsonl' for s in ('train', 'test')})
    tfds.prepare('svamp', tmp_path / 'prepared')
    # A user's own file is preferred to the public one.
    dump(tmp_path / 'files/test.jsonl', rows_of('gsm8k/test')[:4])
    tfds.prepare('gsm8k', tmp_path / 'prepared', tmp_path / 'files')
  for split in ('train', 'test'):
    own = rows_of(f'gsm8k/{split}')[: 4 if split == 'test' else None]
    assert tfds.rows('gsm8k', tmp_path / 'prepared', split) == own
  assert tfds.rows('svamp', tmp_path / 'prepared', 'test') == tfds.rows('svamp', prepared, 'test')


def test_a_download_that_fails_says_what_to_do(tmp_path, monkeypatch):
  from sweb_jax.tasks.tfds import svamp

  with served(tmp_path) as address:
    monkeypatch.setattr(svamp, 'URL', f'{address}/none.jsonl')
    with pytest.raises(TaskError, match=r'none\.jsonl cannot be downloaded .*put it as .*svamp/test\.jsonl'):
      tfds.prepare('svamp', tmp_path / 'prepared')


@pytest.mark.parametrize(
  ('dataset', 'message'),
  [
    ('math', r'no train\.jsonl or train\.jsonl\.gz.*MATH/train'),
    ('functional_math', r'no Oct-2023\.jsonl or .*Oct-2023\.tar\.gz'),
  ],
)
def test_a_set_that_cannot_be_downloaded_names_the_files_to_get(tmp_path, dataset, message):
  (tmp_path / 'readme').write_text('Not the files.')
  with pytest.raises(TaskError, match=message):
    tfds.prepare(dataset, tmp_path / 'prepared', tmp_path)


def test_a_manual_folder_that_is_not_there_is_an_error_at_once(tmp_path):
  with pytest.raises(TaskError, match=r'none: there is no such folder'):
    tfds.prepare('gsm8k', tmp_path, tmp_path / 'none')


def test_a_row_at_fault_is_named(tmp_path):
  dump(tmp_path / 'files/test.jsonl', [{'ID': 'chal-1', 'Body': 'Ann has 1.', 'Answer': 1.0}])
  with pytest.raises(TaskError, match=r"test\.jsonl, line 1: the field 'Question' is missing; the row has ID, Body"):
    tfds.prepare('svamp', tmp_path / 'prepared', tmp_path / 'files')


def test_reading_what_was_not_prepared_says_how_to(tmp_path):
  with pytest.raises(TaskError, match=r'holds no prepared math .*python -m sweb_jax\.tasks\.tfds --dataset=math'):
    tasks.get('math', data_dir=f'tfds:{tmp_path}')
  with pytest.raises(TaskError, match="dataset='chess' has no TFDS builder; there are functional_math, gsm8k"):
    tfds.prepare('chess', tmp_path)


def test_the_command_prepares_and_counts(files, tmp_path):
  command = [sys.executable, '-m', 'sweb_jax.tasks.tfds', f'--data_dir={tmp_path}', f'--manual_dir={files}']
  run = subprocess.run([*command, '--dataset=svamp,gsm8k'], cwd=ROOT, capture_output=True, text=True, timeout=120)
  assert run.returncode == 0, run.stderr
  assert f'{tmp_path}/svamp/1.0.0: test 9\n' in run.stdout
  assert f'{tmp_path}/gsm8k/1.0.0: train 703, test 9\n' in run.stdout
  run = subprocess.run([*command, '--dataset=chess'], cwd=ROOT, capture_output=True, text=True, timeout=120)
  assert run.returncode == 1 and "dataset='chess' has no TFDS builder" in run.stderr


@pytest.mark.slow
@pytest.mark.parametrize('name', ['gsm8k', 'math', 'functional_math', 'svamp', 'mbpp', 'humaneval'])
def test_the_public_files_are_prepared_whole(tmp_path, name):
  if not (DATA / name).exists():
    pytest.skip(f'no data in {DATA}')
  tfds.prepare(name, tmp_path, DATA)
  found = tfds.builder(name, tmp_path).info.splits
  assert {split: info.num_examples for split, info in found.items()} == COUNTS[name]
  if name in ('gsm8k', 'math'):
    assert every(name, f'tfds:{tmp_path}') == every(name, DATA / name)


@pytest.mark.parametrize(('name', 'file'), [('mbpp', 'mbpp/mbpp'), ('humaneval', 'humaneval/HumanEval')])
def test_public_programs_come_back_as_they_were(tmp_path, name, file):
  if not (DATA / name).exists():
    pytest.skip(f'no data in {DATA}')
  tfds.prepare(name, tmp_path, DATA)
  rows = [json.loads(line) for line in gzip.decompress((DATA / f'{file}.jsonl.gz').read_bytes()).splitlines()]
  assert [row for split in COUNTS[name] for row in tfds.rows(name, tmp_path, split)] == rows
