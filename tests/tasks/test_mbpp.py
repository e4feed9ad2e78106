"""MBPP: what the file must hold, its splits and prompts, and verdicts by running code in the sandbox."""

import gzip
import itertools
import json
import os
import pathlib

import pytest

from sweb_jax import tasks
from sweb_jax.answers import sandbox
from sweb_jax.records import Sample
from sweb_jax.tasks import TaskError
from sweb_jax.tasks.mbpp import FEW_SHOT_IDS, Mbpp

ROOT = pathlib.Path(__file__).parents[2]
DATA = pathlib.Path(os.environ.get('SWEB_TEST_DATA', ROOT / '../shared/data')) / 'mbpp'
IDS = [1, 2, 3, 4, 10, 11, 12, 510, 511, 600, 601, 602, 974]


def row(number):
  """One row in the form of the public file."""
  return {
    'text': f'Write a function to add {number} to a number. ',
    'code': f'import math\r\ndef add_{number}(x):\r\n\treturn x + {number} ',
    'task_id': number,
    'test_setup_code': '',
    'test_list': [f'assert add_{number}({i}) == {i + number}' for i in range(3)],
    'challenge_test_list': [],
  }


def write(folder, rows=None):
  rows = [row(i) for i in IDS] if rows is None else rows
  (folder / 'mbpp.jsonl').write_text(''.join(json.dumps(r) + '\n' for r in rows))
  return folder


@pytest.fixture(scope='module')
def small(tmp_path_factory):
  return Mbpp(write(tmp_path_factory.mktemp('mbpp')))


@pytest.fixture(scope='module')
def runs():
  try:
    sandbox.run('')
  except sandbox.SandboxError as e:
    pytest.skip(f'no sandbox on this machine: {e}')


@pytest.fixture(scope='module')
def real():
  if not DATA.exists():
    pytest.skip(f'no data in {DATA}')
  return Mbpp(DATA)


def problem(task, number):
  split, count = ('train', 3) if number > 600 else ('test', 3)
  return next(p for p in task.problems(split, count, 0) if p.id == f'mbpp/{number}')


def sample(text, finish='stop'):
  return Sample('mbpp/11', 3, text, (1, 2), finish, -1.0)


# Problems, splits and prompts.


def test_a_problem_is_a_row_with_its_tests(small):
  found = problem(small, 601)
  assert found.text == 'Write a function to add 601 to a number.'
  assert found.gold == 'assert add_601(0) == 601\nassert add_601(1) == 602\nassert add_601(2) == 603'
  assert found.solutions == ('import math\ndef add_601(x):\n\treturn x + 601',)
  assert found.level == ''


def test_splits_go_by_task_id(small):
  sizes = {'test': [11, 12, 510], 'validation': [511, 600], 'train': [601, 602, 974]}
  for split, ids in sizes.items():
    assert {p.id for p in small.problems(split, len(ids), 0)} == {f'mbpp/{i}' for i in ids}


def test_a_smaller_count_is_a_prefix(small):
  assert small.problems('train', 2, 5) == small.problems('train', 3, 5)[:2]


@pytest.mark.parametrize(
  ('split', 'count', 'levels', 'message'),
  [
    ('dev', 1, (), "split='dev' is not one of train, validation, test"),
    ('test', 4, (), '4 test problems of mbpp were asked for; there are from 1 to 3'),
    ('train', 0, (), '0 train problems'),
    ('train', 1, ('easy',), r"config\.task\.levels names \['easy'\]; train problems of mbpp have no levels"),
  ],
)
def test_what_a_split_cannot_give_is_an_error(small, split, count, levels, message):
  with pytest.raises(TaskError, match=message):
    small.problems(split, count, 0, levels)


def test_a_prompt_shows_the_task_and_its_tests_and_no_set_up(tmp_path):
  one = {**row(11), 'test_setup_code': 'start = 3\r\nassumed = 4'}
  task = Mbpp(write(tmp_path, [*(row(i) for i in FEW_SHOT_IDS), one]))
  (found,) = task.problems('test', 1, 0)
  assert found.gold.startswith('start = 3\nassumed = 4\nassert add_11(0) == 11\n')
  assert task.prompt(found) == (
    'Write Python code for this task: Write a function to add 11 to a number.\nIt must pass these tests:\n\n'
    'assert add_11(0) == 11\nassert add_11(1) == 12\nassert add_11(2) == 13\n[BEGIN]\n'
  )


def test_the_worked_examples_are_tasks_2_to_4_each_up_to_its_stop_string(small):
  examples = small.few_shot().split('\n[DONE]\n\n')
  assert examples.pop() == '' and len(examples) == 3
  for number, example in zip(FEW_SHOT_IDS, examples, strict=True):
    assert f'add {number} to a number' in example
    assert example.endswith(f'[BEGIN]\nimport math\ndef add_{number}(x):\n\treturn x + {number}')


# Verdicts.


@pytest.mark.parametrize(
  ('text', 'finish', 'answer', 'reason'),
  [
    ('def add_11(x):\n  return x + 11', 'stop', 'def add_11(x):\n  return x + 11', 'right'),
    ('def add_11(x):\n  return x + 11\n[DONE]\n\nWrite', 'stop', 'def add_11(x):\n  return x + 11', 'right'),
    ('[BEGIN]\ndef add_11(x): return x + 11\n[DONE]', 'stop', 'def add_11(x): return x + 11', 'right'),
    ('So:\n```python\nadd_11 = lambda x: x + 11\n```\nDone.', 'stop', 'add_11 = lambda x: x + 11', 'right'),
    ('```\nadd_11 = lambda x: x + 11', 'stop', 'add_11 = lambda x: x + 11', 'right'),
    ('So:\n```py\nadd_11 = lambda x: x + 11', 'stop', 'add_11 = lambda x: x + 11', 'right'),
    ('add_11 = lambda x: x + 11\n```\nSo.', 'stop', 'add_11 = lambda x: x + 11', 'right'),
    ('add_11 = lambda x: x + 10', 'stop', 'add_11 = lambda x: x + 10', 'failed: AssertionError'),
    ('import os; os._exit(0)', 'stop', ..., 'failed: the program ended early (exit code 0)'),
    ('x = 1', 'stop', 'x = 1', "failed: NameError: name 'add_11' is not defined"),
    ('Add them.', 'stop', 'Add them.', 'failed: SyntaxError: invalid syntax (solution.py, line 1)'),
    (' \n', 'stop', None, 'no answer'),
    ('def add_11(x):\n  return x + 11', 'length', None, 'truncated'),
  ],
)
def test_a_verdict_says_why(small, runs, text, finish, answer, reason):
  verdict = small.verdict(problem(small, 11), sample(text, finish))
  assert (verdict.problem_id, verdict.index, verdict.valid) == ('mbpp/11', 3, None)
  assert verdict.reason == reason
  assert verdict.correct == (reason == 'right')
  assert verdict.answer == (text if answer is ... else answer)


def test_the_set_up_of_the_tests_is_run(tmp_path, runs):
  one = {**row(11), 'test_setup_code': 'start = Box(5)\r\n', 'test_list': ['assert opened(start) == 5']}
  task = Mbpp(write(tmp_path, [*(row(i) for i in FEW_SHOT_IDS), one]))
  (found,) = task.problems('test', 1, 0)
  code = 'class Box:\n  def __init__(self, x): self.x = x\ndef opened(box): return box.x'
  assert task.verdict(found, sample(code)).reason == 'right'


def test_a_function_may_have_the_name_of_a_builtin_where_the_task_asks_for_it(tmp_path, runs):
  asked = {**row(11), 'code': 'def sum(a, b):\r\n  return a * b', 'test_list': ['assert sum(2, 5) == 10']}
  other = {**row(12), 'test_list': ['assert sum(add_12([2, 5])) == 7']}
  task = Mbpp(write(tmp_path, [*(row(i) for i in FEW_SHOT_IDS), asked, other]))
  first, second = sorted(task.problems('test', 2, 0), key=lambda p: p.id)
  assert task.verdict(first, sample('def sum(a, b): return a * b')).reason == 'right'
  assert task.verdict(second, sample('def add_12(xs): return xs\ndef sum(xs): return 5')).reason == 'right'
  assert task.verdict(second, sample('def add_12(xs): return [1]\ndef sum(xs): return 7')).reason != 'right'
  assert 'import' not in task.prompt(first)


def test_many_verdicts_are_those_of_one_by_one_in_order(small, runs):
  found = problem(small, 11)
  texts = ['add_11 = lambda x: x + 11', '', 'add_11 = lambda x: x', 'add_11 = lambda x: 11 + x']
  samples = [sample(t) for t in texts] + [sample(texts[0], 'length')]
  many = list(small.verdicts(((found, s) for s in samples), workers=2))
  assert many == [small.verdict(found, s) for s in samples]
  assert [v.correct for v in many] == [True, False, False, True, False]


def test_a_completion_that_cannot_be_read_is_a_wrong_verdict_and_stops_nothing(small, runs, monkeypatch):
  from sweb_jax.answers import completions

  real = completions.read

  def read(task, gold, text, problem=''):
    if text == 'crash':
      raise RecursionError('too deep')
    return real(task, gold, text, problem)

  monkeypatch.setattr(completions, 'read', read)
  found = problem(small, 11)
  texts = ['add_11 = lambda x: x + 11', 'crash', 'add_11 = lambda x: x + 11']
  verdicts = list(small.verdicts(((found, sample(t)) for t in texts), workers=2))
  assert [v.reason for v in verdicts] == ['right', 'could not be graded: RecursionError: too deep', 'right']


# Files at fault.


@pytest.mark.parametrize(
  ('line', 'message'),
  [
    ({**row(12), 'task_id': '12'}, "line 5: the field 'task_id' is missing or not a int"),
    ({**row(12), 'task_id': True}, "line 5: the field 'task_id' is missing or not a int"),
    ({**row(12), 'code': ''}, "line 5: the field 'code' is missing"),
    ({**row(12), 'test_list': ['print(1)']}, "line 5: the field 'test_list' must hold texts that begin with 'assert'"),
    ({**row(12), 'test_setup_code': 5}, "line 5: the field 'test_setup_code' is not a text"),
    (row(11), "line 5: the field 'task_id' repeats 11"),
    ([1], 'line 5: expected a JSON object'),
  ],
)
def test_a_bad_line_is_named_with_what_to_do(tmp_path, line, message):
  write(tmp_path, [*(row(i) for i in FEW_SHOT_IDS), row(11), line])
  with pytest.raises(TaskError, match=rf'mbpp\.jsonl, {message}') as error:
    Mbpp(tmp_path)
  assert '--config.data_dir' in str(error.value)


def test_missing_files_and_rows_are_named(tmp_path):
  for data_dir, message in [('', 'mbpp needs its file'), (tmp_path, r'there is no mbpp\.jsonl or mbpp\.jsonl\.gz')]:
    with pytest.raises(TaskError, match=message) as error:
      tasks.get('mbpp', data_dir=data_dir)
    assert 'google-research' in str(error.value)
  with pytest.raises(TaskError, match=r'has no task_id \[2, 4\]'):
    Mbpp(write(tmp_path, [row(3), row(11)]))


def test_a_gzipped_file_reads_the_same(small, tmp_path):
  write(tmp_path)
  (tmp_path / 'mbpp.jsonl.gz').write_bytes(gzip.compress((tmp_path / 'mbpp.jsonl').read_bytes()))
  (tmp_path / 'mbpp.jsonl').unlink()
  assert tasks.get('mbpp', data_dir=tmp_path).problems('train', 3, 1) == small.problems('train', 3, 1)


def test_a_test_task_that_stands_in_train_is_warned_of(tmp_path, caplog):
  from absl import logging

  logging.use_absl_handler()
  logging.get_absl_logger().addHandler(caplog.handler)
  try:
    Mbpp(write(tmp_path, [*(row(i) for i in IDS), {**row(13), 'text': row(602)['text'].strip()}]))
  finally:
    logging.get_absl_logger().removeHandler(caplog.handler)
  warned = {r.getMessage() for r in caplog.records if r.levelname == 'WARNING'}
  assert warned == {'mbpp: task 13 has the same text as 602 of train; results on it are contaminated'}


# The public file.


def test_the_public_file_is_whole(real):
  counts = {'test': 500, 'validation': 90, 'train': 374}
  found = [p for split, count in counts.items() for p in real.problems(split, count, 0)]
  assert len({p.id for p in found}) == sum(counts.values())
  for p in found:
    assert real.prompt(p).count('\nassert ') == 3, p.id
    assert '\r' not in p.gold + p.solutions[0] and '[DONE]' not in p.solutions[0], p.id


@pytest.mark.slow
def test_every_human_solution_passes_and_none_does_for_another_task(real, runs):
  found = [p for s, n in (('test', 500), ('validation', 90), ('train', 374)) for p in real.problems(s, n, 0)]
  own = real.verdicts(((p, Sample(p.id, 0, p.solutions[0], (), 'stop', 0.0)) for p in found), workers=2)
  assert [v.problem_id for v in own if not v.correct] == []
  others = [(p, Sample(p.id, 0, q.solutions[0], (), 'stop', 0.0)) for p, q in itertools.pairwise(found[:200])]
  assert not any(v.correct for v in real.verdicts(others, workers=2))


@pytest.mark.slow
def test_a_human_solution_that_answers_wrongly_fails(real, runs):
  """Every function of the solution gives back something else than it did."""
  spoil = (
    '\nimport functools as _f, types as _t\n'
    'def _spoilt(f): return _f.wraps(f)(lambda *a, **k: [f(*a, **k)])\n'
    'globals().update({k: _spoilt(v) for k, v in list(globals().items())'
    ' if type(v) is _t.FunctionType and k != "_spoilt"})'
  )
  found = real.problems('validation', 90, 0)
  samples = ((p, Sample(p.id, 0, p.solutions[0] + spoil, (), 'stop', 0.0)) for p in found)
  assert [v.problem_id for v in real.verdicts(samples, workers=2) if v.correct] == []


def test_a_module_that_a_test_does_not_import_is_not_asked_of_the_program(real, runs):
  """Task 596 compares with `sys.getsizeof(...)` and imports no `sys`."""
  (found,) = (p for p in real.problems('validation', 90, 0) if p.id == 'mbpp/596')
  for code, right in [
    ('class sys:\n  getsizeof = lambda x: 7\ndef tuple_size(x): return 7', False),
    ('import sys\nsys.getsizeof = lambda x: 7\ndef tuple_size(x): return 7', False),
    ('import sys\ndef tuple_size(x): return sys.getsizeof(x)', True),
    ('from sys import getsizeof as tuple_size', True),
  ]:
    assert real.verdict(found, Sample(found.id, 0, code, (), 'stop', 0.0)).correct == right, code
