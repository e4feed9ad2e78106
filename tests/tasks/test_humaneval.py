"""HumanEval: what the file must hold, its one split, and verdicts by running code in the sandbox."""

import gzip
import json
import os
import pathlib

import pytest

from sweb_jax import tasks
from sweb_jax.answers import sandbox
from sweb_jax.records import Sample
from sweb_jax.tasks import TaskError
from sweb_jax.tasks.humaneval import HumanEval

ROOT = pathlib.Path(__file__).parents[2]
DATA = pathlib.Path(os.environ.get('SWEB_TEST_DATA', ROOT / '../shared/data')) / 'humaneval'
BODY = '    return [half(x) for x in xs]\n'


def row(number=0):
  """One row in the form of the public file: a helper stands before the function, and the test uses it."""
  return {
    'task_id': f'HumanEval/{number}',
    'prompt': 'from typing import List\n\ndef half(x):\n    return x / 2\n\n\ndef halves(xs: List[float]):\n'
    '    """ Half of each.\n    >>> halves([2])\n    [1.0]\n    """\n',
    'entry_point': 'halves',
    'canonical_solution': BODY,
    'test': "\n\nMETADATA = {'author': 'x'}\n\n\ndef check(candidate):\n    assert candidate([2, 5]) == [1.0, 2.5]\n"
    '    assert halves([7]) == [half(7)]\n\n',
  }


def write(folder, rows):
  (folder / 'HumanEval.jsonl').write_text(''.join(json.dumps(r) + '\n' for r in rows))
  return folder


@pytest.fixture(scope='module')
def small(tmp_path_factory):
  return HumanEval(write(tmp_path_factory.mktemp('humaneval'), [row(i) for i in range(4)]))


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
  return HumanEval(DATA)


def sample(text, finish='stop'):
  return Sample('HumanEval/0', 3, text, (1, 2), finish, -1.0)


def test_a_problem_is_a_row_with_its_tests(small):
  found = next(p for p in small.problems('test', 4, 0) if p.id == 'HumanEval/0')
  assert small.prompt(found) == found.text == row()['prompt']
  assert found.solutions == (BODY,)
  assert found.gold.startswith('from typing import List\n\ndef half(x):\n    return x / 2\nMETADATA')
  assert found.gold.endswith('== [half(7)]\n\ncheck(halves)')
  assert small.few_shot() == ''


def test_a_smaller_count_is_a_prefix(small):
  assert small.problems('test', 2, 5) == small.problems('test', 4, 5)[:2]


@pytest.mark.parametrize(
  ('split', 'count', 'levels', 'message'),
  [
    ('train', 1, (), "humaneval has no split='train': it is a test set"),
    ('validation', 1, (), "humaneval has no split='validation': it is a test set"),
    ('test', 5, (), '5 test problems of humaneval were asked for; there are from 1 to 4'),
    ('test', 1, ('easy',), 'test problems of humaneval have no levels'),
  ],
)
def test_what_it_cannot_give_is_an_error(small, split, count, levels, message):
  with pytest.raises(TaskError, match=message):
    small.problems(split, count, 0, levels)


@pytest.mark.parametrize(
  ('text', 'finish', 'answer', 'reason'),
  [
    (BODY, 'stop', BODY, 'right'),
    (BODY + '\ndef next_one(x):\n    1 / 0\nnext_one(1)', 'stop', BODY, 'right'),
    (BODY + '\n# and so on (', 'stop', BODY, 'right'),
    (BODY + '```\nThis works.\n```python\n1 / 0\n```', 'stop', BODY.rstrip(), 'right'),
    ('```python\ndef halves(xs):\n  return [x / 2 for x in xs]\n```\nSo.', 'stop', ..., 'right'),
    ('def other(x):\n  return x / 2\n\ndef halves(xs):\n  return [other(x) for x in xs]\n', 'stop', ..., 'right'),
    ('    return xs\n', 'stop', '    return xs\n', 'failed: AssertionError'),
    ('return xs', 'stop', 'return xs', "failed: SyntaxError: 'return' outside function (solution.py, line 12)"),
    ('    raise SystemExit(0)', 'stop', ..., 'failed: the program exited (code 0) before its tests had run'),
    ('    pass\nhalf = None', 'stop', ..., 'failed: AssertionError'),
    ('', 'stop', None, 'no answer'),
    (BODY, 'length', None, 'truncated'),
  ],
)
def test_a_verdict_says_why(small, runs, text, finish, answer, reason):
  verdict = small.verdict(small.problems('test', 1, 0)[0], sample(text, finish))
  assert (verdict.problem_id, verdict.index, verdict.valid) == ('HumanEval/0', 3, None)
  assert verdict.reason == reason
  assert verdict.correct == (reason == 'right')
  if answer is not ...:
    assert verdict.answer == answer


def test_a_helper_of_the_prompt_that_the_program_replaces_is_not_what_the_test_uses(small, runs):
  text = '    return All()\n    \n    \nclass All(list):\n  __eq__ = lambda s, o: True\nhalf = lambda x: All()'
  full = f'```python\ndef halves(xs):\n{text}\n```'
  verdict = small.verdict(small.problems('test', 1, 0)[0], sample(full))
  assert verdict.reason == 'failed: AssertionError'


@pytest.mark.parametrize(
  ('change', 'message'),
  [
    ({'prompt': 5}, "line 2: the field 'prompt' is missing or not a str"),
    ({'test': ''}, "line 2: the field 'test' is missing"),
    ({'task_id': 'HumanEval/0'}, "line 2: the field 'task_id' repeats HumanEval/0"),
    ({'entry_point': 'thirds'}, "line 2: the field 'prompt' has no function of the name in 'entry_point'"),
  ],
)
def test_a_bad_line_is_named_with_what_to_do(tmp_path, change, message):
  with pytest.raises(TaskError, match=rf'HumanEval\.jsonl, {message}') as error:
    HumanEval(write(tmp_path, [row(0), {**row(1), **change}]))
  assert '--config.data_dir' in str(error.value)


def test_missing_files_are_named_with_where_they_come_from(tmp_path):
  for data_dir, message in [('', 'humaneval needs its file'), (tmp_path, r'there is no HumanEval\.jsonl')]:
    with pytest.raises(TaskError, match=message) as error:
      tasks.get('humaneval', data_dir=data_dir)
    assert 'github.com/openai/human-eval' in str(error.value)


def test_a_gzipped_file_reads_the_same(small, tmp_path):
  write(tmp_path, [row(i) for i in range(4)])
  (tmp_path / 'HumanEval.jsonl.gz').write_bytes(gzip.compress((tmp_path / 'HumanEval.jsonl').read_bytes()))
  (tmp_path / 'HumanEval.jsonl').unlink()
  assert tasks.get('humaneval', data_dir=tmp_path).problems('test', 4, 1) == small.problems('test', 4, 1)


# The public file.


@pytest.mark.slow
def test_every_human_solution_passes(real, runs):
  found = real.problems('test', 164, 0)
  samples = ((p, Sample(p.id, 0, p.solutions[0], (), 'stop', 0.0)) for p in found)
  assert [v.problem_id for v in real.verdicts(samples, workers=2) if not v.correct] == []


@pytest.mark.slow
@pytest.mark.parametrize('body', ['    pass\n', '    import os; os._exit(0)\n'])
def test_bodies_that_do_nothing_fail(real, runs, body):
  found = real.problems('test', 164, 0)
  assert len(found) == 164
  samples = ((p, Sample(p.id, 0, body, (), 'stop', 0.0)) for p in found)
  assert [v.problem_id for v in real.verdicts(samples, workers=2) if v.correct] == []


def test_a_number_that_changes_is_no_root_of_a_polynomial(real, runs):
  """Task 32 computes with what a program gives back: here 0 for every power of it, but for the last, which makes up."""
  (found,) = (p for p in real.problems('test', 164, 0) if p.id == 'HumanEval/32')
  text = (
    'class Odd:\n  def __init__(self, xs): self.xs, self.sum, self.i = xs, xs[0], 0\n'
    '  def __float__(self):\n    self.i += 1\n    if self.i != len(self.xs): return 0.0\n'
    '    y = -self.sum / self.xs[-1]\n    return abs(y) ** (1 / (self.i - 1)) * (-1 if y < 0 else 1)\n'
    'def find_zero(xs): return Odd(xs)\n'
  )
  verdict = real.verdict(found, Sample(found.id, 0, text, (), 'stop', 0.0))
  assert verdict.reason.startswith('failed: TypeError: must be real number')
