"""SVAMP: what the file must hold, how its parts join into a question, which answer is right."""

import json
import os
import pathlib

import pytest

from sweb_jax import tasks
from sweb_jax.records import Sample
from sweb_jax.tasks import TaskError
from sweb_jax.tasks.gsm8k import FEW_SHOT_ROWS, Gsm8k
from sweb_jax.tasks.svamp import Svamp

ROOT = pathlib.Path(__file__).parents[2]
DATA = pathlib.Path(os.environ.get('SWEB_TEST_DATA', ROOT / '../shared/data'))


def row(number, **change):
  """One row in the form of the public file."""
  return {
    'ID': f'chal-{number}',
    'Body': f'Ann has {number} eggs and buys 2 more.',
    'Question': 'How many eggs has she?',
    'Answer': number + 2.0,
    'Type': 'Addition',
    'Equation': f'( {number}.0 + 2.0 )',
  } | change


def write(folder, rows):
  folder.mkdir(parents=True, exist_ok=True)
  (folder / 'test.jsonl').write_text(''.join(json.dumps(r) + '\n' for r in rows))
  return folder


def sample(text, finish='stop'):
  return Sample('test/chal-1', 3, text, (1, 2), finish, -1.0)


@pytest.fixture
def small(tmp_path):
  return Svamp(write(tmp_path, [row(i) for i in range(20)]))


@pytest.fixture(scope='module')
def real():
  if not (DATA / 'svamp').exists():
    pytest.skip(f'no data in {DATA}')
  return Svamp(DATA / 'svamp')


def test_a_problem_is_a_row_asked_like_gsm8k(small):
  problem = next(p for p in small.problems('test', 20, 0) if p.id == 'test/chal-7')
  assert problem.text == 'Ann has 7 eggs and buys 2 more. How many eggs has she?'
  assert (problem.gold, problem.level, problem.solutions) == ('9', 'Addition', ())
  assert small.prompt(problem) == f'Question: {problem.text}\nAnswer:'
  assert small.stop_strings == Gsm8k.stop_strings


def test_a_body_without_a_full_stop_goes_on_into_the_question(tmp_path):
  task = Svamp(write(tmp_path, [row(1, Body='If Ann has 1 egg and buys 2 ', Question=' how many has she? ')]))
  assert task.problems('test', 1, 0)[0].text == 'If Ann has 1 egg and buys 2, how many has she?'


@pytest.mark.parametrize(('answer', 'gold'), [(5.0, '5'), (-3, '-3'), (2.5, '2.5'), (1e6, '1000000'), ('7.0', '7')])
def test_the_gold_answer_is_a_plain_number(tmp_path, answer, gold):
  assert Svamp(write(tmp_path, [row(1, Answer=answer)])).problems('test', 1, 0)[0].gold == gold


def test_there_is_only_a_test_split(small):
  assert {p.id for p in small.problems('test', 20, 0)} == {f'test/chal-{i}' for i in range(20)}
  for split in ('train', 'validation'):
    with pytest.raises(TaskError, match=f'svamp has no {split} problems, only test'):
      small.problems(split, 1, 0)
  with pytest.raises(TaskError, match='svamp gives from 1 to 20'):
    small.problems('test', 21, 0)


@pytest.mark.parametrize(
  ('text', 'finish', 'answer', 'correct', 'reason'),
  [
    (' She has 3.\n#### 3', 'stop', '3', True, 'right'),
    (' #### 4\n#### 3', 'stop', '4', False, 'wrong answer'),
    (' I do not know.', 'stop', None, False, 'no answer'),
    (' She has 3.\n#### 3', 'length', None, False, 'truncated'),
  ],
)
def test_a_verdict_says_why(tmp_path, text, finish, answer, correct, reason):
  task = Svamp(write(tmp_path, [row(1)]))
  verdict = task.verdict(task.problems('test', 1, 0)[0], sample(text, finish))
  assert (verdict.problem_id, verdict.index, verdict.valid) == ('test/chal-1', 3, None)
  assert (verdict.answer, verdict.correct) == (answer, correct)
  assert verdict.reason.split(' (')[0] == reason


def test_the_worked_examples_are_those_of_gsm8k_beside_it(tmp_path):
  task = Svamp(write(tmp_path / 'svamp', [row(1)]))
  with pytest.raises(TaskError, match=r'are those of GSM8K, and there is no gsm8k/train\.jsonl'):
    task.few_shot()
  rows = [{'question': f'Why {i}?', 'answer': f'So.\n#### {i}'} for i in range(max(FEW_SHOT_ROWS) + 1)]
  (tmp_path / 'gsm8k').mkdir()
  (tmp_path / 'gsm8k/train.jsonl').write_text(''.join(json.dumps(r) + '\n' for r in rows))
  for data_dir in (tmp_path, tmp_path / 'svamp'):
    text = Svamp(data_dir).few_shot()
    assert text.startswith(f'Question: Why {FEW_SHOT_ROWS[0]}?\nAnswer: So.\n#### {FEW_SHOT_ROWS[0]}\n\n')
    assert text.count('Question: ') == 8


@pytest.mark.parametrize(
  ('change', 'message'),
  [
    ({'Body': ''}, "line 2: the field 'Body' is missing or not a text"),
    ({'Question': None}, "line 2: the field 'Question' is missing"),
    ({'Answer': 'two'}, "line 2: the field 'Answer' is missing or not a number"),
    ({'Answer': float('nan')}, "line 2: the field 'Answer' is missing or not a number"),
    ({'Answer': None}, "line 2: the field 'Answer' is missing or not a number"),
    ({'ID': 'chal-0'}, "an 'ID' stands twice"),
  ],
)
def test_a_bad_row_is_named_with_what_to_do(tmp_path, change, message):
  with pytest.raises(TaskError, match=rf'test\.jsonl(\.gz)?[,:] {message}') as error:
    Svamp(write(tmp_path, [row(0), row(1, **change)]))
  assert '--config.data_dir' in str(error.value)


def test_missing_files_are_named_with_where_they_come_from(tmp_path):
  for data_dir, message in [('', 'svamp needs its files'), (str(tmp_path), r'there is no test\.jsonl or')]:
    with pytest.raises(TaskError, match=message) as error:
      tasks.get('svamp', data_dir=data_dir)
    assert 'github.com/ZubinGou/math-evaluation-harness' in str(error.value)


def test_the_public_file_is_whole(real):
  found = real.problems('test', 1_000, 0)
  assert len({p.id for p in found}) == 1_000
  kinds = ('Addition', 'Common-Division', 'Multiplication', 'Subtraction')
  assert [sum(p.level == kind for p in found) for kind in kinds] == [195, 166, 108, 531]
  assert all(p.gold.isdigit() for p in found)
  assert not any(s in real.prompt(p).removeprefix('Question:') for p in found for s in real.stop_strings)


def test_every_gold_answer_is_graded_as_right(real):
  for problem in real.problems('test', 1_000, 0):
    assert real.verdict(problem, Sample(problem.id, 0, f' So.\n#### {problem.gold}', (), 'stop', 0.0)).correct
    assert not real.verdict(problem, Sample(problem.id, 0, f' So.\n#### 1{problem.gold}', (), 'stop', 0.0)).correct
