"""GSM8K: what the files must hold, how they are split, what a prompt looks like, which answer is right."""

import gzip
import json
import os
import pathlib

import pytest

from sweb_jax import tasks
from sweb_jax.records import Sample
from sweb_jax.tasks import TaskError
from sweb_jax.tasks.gsm8k import FEW_SHOT_ROWS, VALIDATION, Gsm8k

ROOT = pathlib.Path(__file__).parents[2]
DATA = pathlib.Path(os.environ.get('SWEB_TEST_DATA', ROOT / '../shared/data'))
TRAIN_ROWS = 1_300


def row(number, name='train'):
  """One row in the form of the public files."""
  return {
    'question': f'In {name} {number}, Ann has {number} eggs and buys 2 more.  How many eggs has she?',
    'answer': f'She buys 2.\nShe has {number}+2 = <<{number}+2={number + 2}>>{number + 2} eggs.\n#### {number + 2:,}',
  }


def write(folder, train=None, test=None):
  for name, rows in (('train', train), ('test', test)):
    rows = rows if rows is not None else [row(i, name) for i in range(TRAIN_ROWS if name == 'train' else 20)]
    (folder / f'{name}.jsonl').write_text(''.join(json.dumps(r) + '\n' for r in rows))
  return folder


def sample(text, finish='stop'):
  return Sample('train/0', 3, text, (1, 2), finish, -1.0)


@pytest.fixture(scope='module')
def small(tmp_path_factory):
  return Gsm8k(write(tmp_path_factory.mktemp('gsm8k')))


@pytest.fixture(scope='module')
def real():
  if not (DATA / 'gsm8k').exists():
    pytest.skip(f'no data in {DATA}')
  return Gsm8k(DATA / 'gsm8k')


# Problems and splits.


def test_a_problem_is_a_row(small):
  pool = small.problems('train', TRAIN_ROWS - 508, 0) + small.problems('validation', 500, 0)
  problem = next(p for p in pool if p.id == 'train/1200')
  assert problem.text == 'In train 1200, Ann has 1200 eggs and buys 2 more.  How many eggs has she?'
  assert problem.gold == '1202'
  assert problem.solutions == (' She buys 2.\nShe has 1200+2 = 1202 eggs.\n#### 1202',)
  assert problem.level == 'steps 01'


def test_splits_share_no_problem_and_leave_the_few_shot_rows_out(small):
  train = small.problems('train', TRAIN_ROWS - VALIDATION - len(FEW_SHOT_ROWS), 0)
  validation = small.problems('validation', VALIDATION, 0)
  ids = [p.id for p in train + validation]
  assert len(set(ids)) == len(ids)
  assert set(ids) | {f'train/{i}' for i in FEW_SHOT_ROWS} == {f'train/{i}' for i in range(TRAIN_ROWS)}
  assert {p.id for p in small.problems('test', 20, 0)} == {f'test/{i}' for i in range(20)}


def test_the_seed_orders_a_split_and_a_smaller_count_is_a_prefix(small):
  first = small.problems('train', 100, 1)
  assert small.problems('train', 40, 1) == first[:40]
  other = small.problems('train', 100, 2)
  assert len({p.id for p in first} & {p.id for p in other}) < 40
  assert {p.id for p in small.problems('validation', 500, 1)} == {p.id for p in small.problems('validation', 500, 2)}


def test_validation_does_not_depend_on_the_order_of_rows(small, tmp_path):
  rows = [row(i) for i in range(TRAIN_ROWS)]
  shown = {i: rows[i] for i in FEW_SHOT_ROWS}
  rest = iter([r for i, r in reversed(list(enumerate(rows))) if i not in shown])
  moved = Gsm8k(write(tmp_path, train=[shown[i] if i in shown else next(rest) for i in range(TRAIN_ROWS)]))
  texts = [{p.text for p in task.problems('validation', 500, 0)} for task in (small, moved)]
  assert texts[0] == texts[1]


def test_a_question_that_stands_twice_is_in_one_split(tmp_path):
  rows = [row(i) for i in range(TRAIN_ROWS)]
  rows += [{**r, 'question': r['question'].replace('  ', ' ')} for r in rows]
  task = Gsm8k(write(tmp_path, train=rows))
  validation = {' '.join(p.text.split()) for p in task.problems('validation', 1000, 0)}
  train = {' '.join(p.text.split()) for p in task.problems('train', 2 * (TRAIN_ROWS - 508), 0)}
  assert not validation & train
  assert len(validation) == VALIDATION


@pytest.mark.parametrize(
  ('split', 'count', 'message'),
  [
    ('dev', 1, "split='dev' is not one of train, validation, test"),
    ('test', 21, '21 test problems were asked for; gsm8k gives from 1 to 20'),
    ('validation', 501, '501 validation problems'),
    ('train', 0, '0 train problems'),
  ],
)
def test_what_a_split_cannot_give_is_an_error(small, split, count, message):
  with pytest.raises(TaskError, match=message):
    small.problems(split, count, 0)


# Prompts.


def test_prompt_and_solution_join_into_a_worked_example(small):
  problem = small.problems('test', 1, 0)[0]
  text = small.prompt(problem) + problem.solutions[0]
  assert text.startswith(f'Question: {problem.text}\nAnswer: She buys 2.\n')
  assert text.endswith(f'\n#### {problem.gold}')


def test_few_shot_is_eight_worked_examples_that_no_stop_string_would_cut(small):
  examples = small.few_shot().split('\n\n')
  assert examples.pop() == ''
  assert len(examples) == 8
  for number, example in zip(FEW_SHOT_ROWS, examples, strict=True):
    assert example.startswith(f'Question: In train {number}, ')
    assert example.endswith(f'\n#### {number + 2}')


def test_blank_lines_of_a_solution_go_because_a_blank_line_ends_a_completion(tmp_path):
  answer = 'One.\n\n \nTwo: 1 + 1 = <<1+1=2>>2.  \n#### -2,000'
  task = Gsm8k(write(tmp_path, test=[{'question': ' Why?\n', 'answer': answer}]))
  problem = task.problems('test', 1, 0)[0]
  assert problem.text == 'Why?'
  assert problem.solutions == (' One.\nTwo: 1 + 1 = 2.\n#### -2000',)


def test_a_solution_without_annotations_has_no_level(tmp_path):
  task = Gsm8k(write(tmp_path, test=[{'question': 'Why?', 'answer': 'So.\n#### 2'}]))
  assert task.problems('test', 1, 0)[0].level == ''


# Verdicts.


@pytest.mark.parametrize(
  ('text', 'finish', 'answer', 'correct', 'reason'),
  [
    (' She has 2.\n#### 2', 'stop', '2', True, 'right'),
    (' She has 2.\n#### $2.00.', 'stop', '2', True, 'right'),
    (' She has 3.\n#### 3', 'stop', '3', False, 'wrong answer'),
    (' #### 3\n#### 2', 'stop', '3', False, 'wrong answer'),
    (' She has 2.', 'stop', None, False, 'no answer'),
    ('', 'stop', None, False, 'no answer'),
    (' She has 2.\n#### 2', 'length', None, False, 'truncated'),
    (" #### __import__('os').getpid()", 'stop', None, False, 'no answer'),
    (' #### ' + '9' * 10**6, 'stop', None, False, 'no answer'),
    (' #### 2e1000000000', 'stop', None, False, 'no answer'),
  ],
)
def test_a_verdict_says_why(tmp_path, text, finish, answer, correct, reason):
  task = Gsm8k(write(tmp_path, test=[{'question': 'Why?', 'answer': 'So.\n#### 2'}]))
  verdict = task.verdict(task.problems('test', 1, 0)[0], sample(text, finish))
  assert (verdict.problem_id, verdict.index) == ('train/0', 3)
  assert (verdict.answer, verdict.correct, verdict.reason, verdict.valid) == (answer, correct, reason, None)


# Files at fault.


@pytest.mark.parametrize(
  ('line', 'message'),
  [
    ('{"question": "Why?"}', "line 3: the field 'answer' is missing"),
    ('{"answer": "#### 2"}', "line 3: the field 'question' is missing"),
    ('{"question": 5, "answer": "So.\\n#### 2"}', "line 3: the field 'question' is missing or not a text"),
    ('{"question": "Why?", "answer": "So 2."}', "line 3: the field 'answer' must be a solution that ends in '#### n'"),
    ('{"question": "Why?", "answer": "So.\\n#### two"}', "line 3: the field 'answer' must be"),
    ('{"question": "Why?", "answer": "#### 2"}', "line 3: the field 'answer' must be"),
    ('{"question": "Why?", ', 'line 3: not JSON'),
    ('[1, 2]', 'line 3: expected a JSON object'),
  ],
)
def test_a_bad_line_is_named_with_what_to_do(tmp_path, line, message):
  write(tmp_path)
  lines = (tmp_path / 'test.jsonl').read_text().splitlines()
  (tmp_path / 'test.jsonl').write_text('\n'.join([*lines[:2], line, *lines[2:]]))
  with pytest.raises(TaskError, match=rf'test\.jsonl, {message}') as error:
    Gsm8k(tmp_path)
  assert '--config.data_dir' in str(error.value)


def test_missing_files_are_named_with_where_they_come_from(tmp_path):
  for data_dir, message in [('', 'gsm8k needs its files'), (tmp_path / 'none', r'none: there is no train\.jsonl')]:
    with pytest.raises(TaskError, match=message) as error:
      tasks.get('gsm8k', data_dir=data_dir)
    assert 'github.com/openai/grade-school-math' in str(error.value)
    assert '--config.data_dir' in str(error.value)
  write(tmp_path)
  (tmp_path / 'test.jsonl').unlink()
  with pytest.raises(TaskError, match=r'there is no test\.jsonl'):
    Gsm8k(tmp_path)


def test_a_file_that_ends_early_is_an_error(tmp_path):
  with pytest.raises(TaskError, match='the train file holds 650 rows'):
    Gsm8k(write(tmp_path, train=[row(i) for i in range(650)]))


def test_gzipped_files_read_the_same_and_a_torn_one_is_an_error(small, tmp_path):
  write(tmp_path)
  for name in ('train', 'test'):
    packed = gzip.compress((tmp_path / f'{name}.jsonl').read_bytes())
    (tmp_path / f'{name}.jsonl.gz').write_bytes(packed)
    (tmp_path / f'{name}.jsonl').unlink()
  assert Gsm8k(tmp_path).problems('train', 50, 3) == small.problems('train', 50, 3)
  (tmp_path / 'test.jsonl.gz').write_bytes(packed[:-20])
  with pytest.raises(TaskError, match=r'test\.jsonl\.gz: cannot be read'):
    Gsm8k(tmp_path)


def test_a_line_separator_inside_a_question_does_not_split_its_row(tmp_path):
  rows = [{'question': 'A box.\u2028 How many\x85 balls?', 'answer': 'Two.\n#### 2'}]
  write(tmp_path)
  (tmp_path / 'test.jsonl').write_text(json.dumps(rows[0], ensure_ascii=False) + '\n')
  assert Gsm8k(tmp_path).problems('test', 1, 0)[0].text == rows[0]['question']


def test_a_test_question_that_stands_in_train_is_warned_of(tmp_path, caplog):
  from absl import logging

  logging.use_absl_handler()
  logging.get_absl_logger().addHandler(caplog.handler)
  try:
    copy = {**row(7), 'question': row(7)['question'].replace('  ', ' ')}
    Gsm8k(write(tmp_path, test=[row(0, 'test'), copy]))
  finally:
    logging.get_absl_logger().removeHandler(caplog.handler)
  warned = {r.getMessage() for r in caplog.records if r.levelname == 'WARNING'}
  assert len(warned) == 1
  assert 'test/1 has the same question as train/7' in warned.pop()


# The public files.


def test_the_public_files_are_whole(real):
  test = real.problems('test', 1_319, 0)
  assert len({p.id for p in test}) == 1_319
  assert len(real.problems('train', 7_473 - 500 - 8, 0)) == 6_965
  assert len(real.problems('validation', 500, 0)) == 500
  with pytest.raises(TaskError):
    real.problems('test', 1_320, 0)
  assert next(p for p in test if p.id == 'test/146').gold == '2125'  # '#### 2,125' in the file.


def test_every_human_solution_is_graded_as_right_and_survives_the_stop_strings(real):
  for split, count in (('train', 6_965), ('validation', 500), ('test', 1_319)):
    for problem in real.problems(split, count, 0):
      (solution,) = problem.solutions
      assert solution.startswith(' ') and solution[1] != ' ', problem.id
      assert '<<' not in solution and '>>' not in solution, problem.id
      assert not any(s in solution for s in real.stop_strings), problem.id
      verdict = real.verdict(problem, Sample(problem.id, 0, solution, (), 'stop', 0.0))
      assert verdict.correct and verdict.answer == problem.gold, problem.id


def test_the_few_shot_examples_are_short_and_of_two_to_four_steps(real):
  examples = real.few_shot().split('\n\n')[:-1]
  assert len(examples) == 8
  assert max(len(e) for e in examples) < 450
  assert all(2 <= e.split('\nAnswer: ')[1].count('\n') <= 4 for e in examples)
  assert len(real.few_shot()) < 3_000


def test_gemma_tokenises_prompt_and_solution_apart_as_it_does_together(real):
  spm = pytest.importorskip('sentencepiece')
  path = DATA / 'tokenizers/gemma2_rebuilt.model.gz'
  if not path.exists():
    pytest.skip(f'no {path}')
  tokenizer = spm.SentencePieceProcessor(model_proto=gzip.decompress(path.read_bytes()))
  assert len(tokenizer.encode(real.few_shot())) <= 900
  for problem in real.problems('train', 200, 0):
    prompt, solution = real.prompt(problem), problem.solutions[0]
    assert tokenizer.encode(prompt) + tokenizer.encode(solution) == tokenizer.encode(prompt + solution)


def test_levels_choose_problems_by_their_number_of_steps(small):
  assert {p.level for p in small.problems('train', 30, 0, ('steps 01',))} == {'steps 01'}
  with pytest.raises(TaskError, match=r"'steps 44'.*steps 01"):
    small.problems('train', 1, 0, ('steps 44',))
