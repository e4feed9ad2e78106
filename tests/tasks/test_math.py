"""MATH: what the files must hold, which oddities are met, how they are split, what a prompt looks like."""

import gzip
import json
import logging as std_logging
import os
import pathlib

import pytest
from absl import logging

from sweb_jax import tasks
from sweb_jax.records import Sample
from sweb_jax.tasks import TaskError
from sweb_jax.tasks.math import FEW_SHOT, LEVELS, VALIDATION, Math, last_box

ROOT = pathlib.Path(__file__).parents[2]
DATA = pathlib.Path(os.environ.get('SWEB_TEST_DATA', ROOT / '../shared/data'))
TRAIN_ROWS = 600


def row(number, split='train'):
  """One row in the form of the public files."""
  return {
    'id': f'{split}/prealgebra/{number}',
    'problem': f'In {split}, what is  ${number}+2$?\n',
    'level': f'Level {number % 5 + 1}',
    'type': 'Prealgebra',
    'solution': f'Adding gives\n\n\\[{number}+2=\\boxed{{{number + 2}}}.\\]',
  }


def train_rows(count=TRAIN_ROWS):
  shown = [{**row(9_000 + i), 'id': name} for i, name in enumerate(FEW_SHOT)]
  return [row(i) for i in range(count)] + shown


def math500_row(number):
  """One row in the form of MATH-500."""
  return {
    'problem': f'Of the 500, what is ${number}+2$?',
    'solution': f'It is $\\boxed{{{number + 2}}}$.',
    'answer': str(number + 2),
    'subject': 'Algebra',
    'level': number % 5 + 1,
    'unique_id': f'test/algebra/{number}.json',
  }


def dump(path, rows):
  path.parent.mkdir(parents=True, exist_ok=True)
  path.write_text(''.join(json.dumps(r) + '\n' for r in rows))


def write(folder, train=None, math500=None):
  dump(folder / 'train.jsonl', train if train is not None else train_rows())
  dump(folder / 'math500.jsonl', math500 if math500 is not None else [math500_row(i) for i in range(20)])
  return folder


def sample(text, finish='stop'):
  return Sample('test/algebra/0', 3, text, (1, 2), finish, -1.0)


@pytest.fixture
def warned(caplog):
  """A function: the warnings so far."""
  logging.use_absl_handler()
  logging.get_absl_logger().addHandler(caplog.handler)
  # A record arrives twice where absl's logger also hands it to the root.
  yield lambda: list(dict.fromkeys(r.getMessage() for r in caplog.records if r.levelno == std_logging.WARNING))
  logging.get_absl_logger().removeHandler(caplog.handler)


@pytest.fixture(scope='module')
def small(tmp_path_factory):
  return Math(write(tmp_path_factory.mktemp('math')))


@pytest.fixture(scope='module')
def real():
  if not (DATA / 'math').exists():
    pytest.skip(f'no data in {DATA}')
  return Math(DATA / 'math')


def every(task):
  """All problems of all splits, by split."""
  return {split: task.problems(split, len(task._splits[split]), 0) for split in tasks.SPLITS}


# Problems and splits.


def test_a_problem_is_a_row(small):
  problem = next(p for found in every(small).values() for p in found if p.id == 'train/prealgebra/17')
  assert problem.text == 'In train, what is  $17+2$?'
  assert problem.gold == '19'
  assert problem.solutions == (' Adding gives\n\n\\[17+2=\\boxed{19}.\\]',)
  assert problem.level == 'Level 3'


def test_a_row_of_math_500_has_other_names_for_its_fields(small):
  problem = next(p for p in small.problems('test', 20, 0) if p.id == 'test/algebra/7')
  assert (problem.text, problem.gold, problem.level) == ('Of the 500, what is $7+2$?', '9', 'Level 3')


def test_splits_share_no_problem_and_leave_the_few_shot_items_out(small):
  found = every(small)
  assert {k: len(v) for k, v in found.items()} == {'train': TRAIN_ROWS - VALIDATION, 'validation': 500, 'test': 20}
  ids = [p.id for problems in found.values() for p in problems]
  assert len(set(ids)) == len(ids)
  assert not set(ids) & set(FEW_SHOT)


def test_validation_is_chosen_by_text_not_by_the_order_of_rows(small, tmp_path):
  moved = Math(write(tmp_path, train=train_rows()[::-1]))
  assert every(moved)['validation'] == every(small)['validation']


def test_the_seed_orders_a_split_and_a_smaller_count_is_a_prefix(small):
  first = small.problems('validation', 100, 1)
  assert small.problems('validation', 40, 1) == first[:40]
  assert small.problems('validation', 100, 2) != first


def test_levels_choose_problems(small):
  assert {p.level for p in small.problems('train', 30, 0, ('Level 1', 'Level 5'))} == {'Level 1', 'Level 5'}
  with pytest.raises(TaskError, match=r"\['Level 6'\]; the train problems have Level 1, Level 2"):
    small.problems('train', 1, 0, ('Level 6',))


@pytest.mark.parametrize(
  ('split', 'count', 'message'),
  [('dev', 1, "split='dev' is not one of train, validation, test"), ('test', 21, 'math gives from 1 to 20')],
)
def test_what_a_split_cannot_give_is_an_error(small, split, count, message):
  with pytest.raises(TaskError, match=message):
    small.problems(split, count, 0)


# Where files are looked for.


@pytest.mark.parametrize(
  ('train', 'math500', 'data_dir'),
  [
    ('math/train.jsonl', 'math500/test.jsonl', 'math'),
    ('math/train.jsonl', 'math500/test.jsonl', '.'),
    ('train.jsonl', 'math500/test.jsonl', '.'),
    ('train.jsonl', 'math500.jsonl', '.'),
  ],
)
def test_files_are_found_where_people_keep_them(small, tmp_path, train, math500, data_dir):
  dump(tmp_path / train, train_rows())
  dump(tmp_path / math500, [math500_row(i) for i in range(20)])
  assert every(tasks.get('math', data_dir=str(tmp_path / data_dir))) == every(small)


def test_gzipped_files_read_the_same(small, tmp_path):
  write(tmp_path)
  for path in list(tmp_path.iterdir()):
    path.with_suffix('.jsonl.gz').write_bytes(gzip.compress(path.read_bytes()))
    path.unlink()
  assert every(Math(tmp_path)) == every(small)


def test_without_math_500_the_whole_test_file_is_the_test_split_and_a_warning_says_so(tmp_path, warned):
  write(tmp_path)
  (tmp_path / 'math500.jsonl').rename(tmp_path / 'test.jsonl')
  assert len(Math(tmp_path).problems('test', 20, 0)) == 20
  assert [w for w in warned() if 'there is no math500.jsonl; the test split is the 20 rows of' in w]


def test_missing_files_are_named_with_where_they_come_from(tmp_path):
  for data_dir, message in [('', 'math needs its files'), (str(tmp_path), r'there is no train\.jsonl or')]:
    with pytest.raises(TaskError, match=message) as error:
      tasks.get('math', data_dir=data_dir)
    assert 'github.com/openai/prm800k' in str(error.value) and '--config.data_dir' in str(error.value)
  write(tmp_path)
  (tmp_path / 'math500.jsonl').unlink()
  with pytest.raises(TaskError, match=r'there is no math500\.jsonl'):
    Math(tmp_path)


@pytest.mark.parametrize(
  ('change', 'message'),
  [
    ({'problem': None}, "line 2: the field 'problem' is missing or not a text"),
    ({'solution': ' '}, "line 2: the field 'solution' is missing or not a text"),
    ({'id': None}, "line 2: the field 'id' is missing or not a text"),
    ({'id': 'train/prealgebra/0'}, "line 2: the id 'train/prealgebra/0' stands twice"),
  ],
)
def test_a_bad_row_is_named_with_what_to_do(tmp_path, change, message):
  rows = train_rows()
  rows[1] |= change
  with pytest.raises(TaskError, match=rf'train\.jsonl, {message}') as error:
    Math(write(tmp_path, train=rows))
  assert '--config.data_dir' in str(error.value)


def test_a_train_file_without_a_few_shot_item_is_an_error(tmp_path):
  with pytest.raises(TaskError, match=f'the few-shot examples {FEW_SHOT[3]} are missing'):
    Math(write(tmp_path, train=train_rows()[:-1]))


def test_a_train_file_with_rows_of_the_test_set_is_warned_of(tmp_path, warned):
  Math(write(tmp_path, train=[*train_rows(), row(1, 'test'), row(2, 'test')]))
  (warning,) = warned()
  assert '2 of the 606 rows of' in warning and 'are of the test set by their ids' in warning


# Oddities of the public files.


@pytest.mark.parametrize('solution', ['So it is $\\boxed{}$.', 'So it is $\\boxed{ }$.', 'It is 5.', '\\boxed{5'])
def test_a_row_without_an_answer_is_left_out_with_a_warning(tmp_path, warned, solution):
  rows = train_rows()
  rows[1]['solution'] = solution
  found = every(Math(write(tmp_path, train=rows)))
  assert 'train/prealgebra/1' not in {p.id for problems in found.values() for p in problems}
  assert [w for w in warned() if w.startswith('math: train/prealgebra/1 has no answer')]


def test_a_row_without_a_level_is_kept_with_a_warning(tmp_path, warned):
  rows = train_rows()
  rows[1]['level'] = 'Level ?'
  found = every(Math(write(tmp_path, train=rows)))
  assert [p.level for problems in found.values() for p in problems if p.id == 'train/prealgebra/1'] == ['']
  assert warned() == ["math: train/prealgebra/1 has the level 'Level ?'; kept, as of no level"]


def test_a_test_problem_that_stands_in_train_is_warned_of_with_both_names(tmp_path, warned):
  copy = {**math500_row(7), 'problem': row(3)['problem'].replace('  ', '\n')}
  Math(write(tmp_path, math500=[math500_row(0), copy]))
  assert warned() == [
    'math: test/algebra/7 has the same problem as train/prealgebra/3; results on it are contaminated'
  ]


def test_copies_in_the_rest_of_the_test_set_are_told_apart_from_those_in_the_test_split(tmp_path, warned):
  write(tmp_path)
  dump(tmp_path / 'test.jsonl', [row(1, 'test'), {**row(2, 'test'), 'problem': row(5)['problem']}])
  Math(tmp_path)
  (warning,) = warned()
  assert warning.startswith('math, outside the test split: ')
  assert 'test/prealgebra/2 has the same problem as train/prealgebra/5' in warning


@pytest.mark.parametrize(
  ('text', 'box'),
  [
    ('$\\boxed{5}$', '5'),
    ('First $\\boxed{4}$, then $\\boxed{\\frac{1}{2}}$.', '\\frac{1}{2}'),
    ('$\\boxed{\\{1,2\\}}$', '\\{1,2\\}'),
    ('$\\boxed{\\left\\{ x \\right.}$', '\\left\\{ x \\right.'),
    ('$\\boxed {17}$', '17'),
    ('$\\boxed 2$', '2'),
    ('$\\boxed{}$', ''),
    ('$\\boxed{5', None),
    ('$\\boxed', None),
    ('5', None),
    ('\\boxed{' * 5_000, None),
  ],
)
def test_the_gold_answer_is_the_last_box(text, box):
  assert last_box(text) == box


def test_the_gold_answer_of_a_solution_with_several_boxes_is_their_list(tmp_path):
  first = {**row(0), 'solution': 'So $x = \\boxed{-2}$ or $x = \\boxed{1}$.'}
  task = Math(write(tmp_path, [first, *train_rows()[1:]]))
  found = next(p for s in ('train', 'validation') for p in every(task)[s] if p.id == 'train/prealgebra/0')
  assert found.gold == '-2, 1'
  assert task.verdict(found, sample('So $x$ is \\boxed{1} or \\boxed{-2}.')).correct
  assert not task.verdict(found, sample('So $x = \\boxed{1}$.')).correct


# Prompts.


def test_prompt_and_solution_join_into_a_worked_example(small):
  problem = small.problems('test', 1, 0)[0]
  text = small.prompt(problem) + problem.solutions[0]
  assert text == f'Problem:\n{problem.text}\n\nSolution: It is $\\boxed{{{problem.gold}}}$.'


def test_few_shot_is_four_worked_examples_each_ended_by_the_head_of_the_next(small):
  text = small.few_shot() + small.prompt(small.problems('test', 1, 0)[0])
  examples = text.split(small.stop_strings[0])
  assert len(examples) == 5
  for number, example in enumerate(examples[:4]):
    assert f'In train, what is  ${9_000 + number}+2$?' in example
    assert example.endswith(f'\\boxed{{{9_002 + number}}}.\\]')


# Verdicts.


@pytest.mark.parametrize(
  ('text', 'finish', 'answer', 'correct', 'reason'),
  [
    (' It is $\\boxed{\\frac{1}{2}}$.', 'stop', '\\frac{1}{2}', True, 'right'),
    (' It is $\\boxed{0.5}$.', 'stop', '0.5', True, 'right'),
    (' It is $\\boxed{2}$.', 'stop', '2', False, 'wrong answer'),
    (' It is unknown.', 'stop', None, False, 'no answer'),
    ('', 'stop', None, False, 'no answer'),
    (' It is $\\boxed{\\frac{1}{2}', 'stop', None, False, 'no answer'),
    (' It is $\\boxed{\\frac{1}{2}}$.', 'length', None, False, 'truncated'),
  ],
)
def test_a_verdict_says_why(tmp_path, text, finish, answer, correct, reason):
  task = Math(write(tmp_path, math500=[{**math500_row(0), 'solution': 'So $\\boxed{\\frac{1}{2}}$.'}]))
  verdict = task.verdict(task.problems('test', 1, 0)[0], sample(text, finish))
  assert (verdict.problem_id, verdict.index, verdict.valid) == ('test/algebra/0', 3, None)
  assert (verdict.answer, verdict.correct) == (answer, correct)
  assert verdict.reason.split(' (')[0] == reason


# The public files.


def test_the_public_files_have_the_counts_of_the_paper(real):
  found = every(real)
  # 7,500 less 500 for validation, 4 worked examples and 2 without an answer.
  assert {k: len(v) for k, v in found.items()} == {'train': 6_994, 'validation': 500, 'test': 500}
  assert [sum(p.level == level for p in found['test']) for level in LEVELS] == [43, 90, 105, 128, 134]


def test_the_oddities_of_the_public_files_are_warned_of_by_name(warned):
  if not (DATA / 'math').exists():
    pytest.skip(f'no data in {DATA}')
  found = every(Math(DATA / 'math'))
  ids = {p.id: p for problems in found.values() for p in problems}
  text = '\n'.join(warned())
  for name in ('train/number_theory/7115', 'train/number_theory/7117'):
    assert f'math: {name} has no answer' in text and name not in ids
  for name in ('train/geometry/377', 'train/geometry/471'):
    assert f"math: {name} has the level 'Level ?'" in text and ids[name].level == ''
  assert ids['train/algebra/24014'].gold == '2'  # '\boxed 2' in the file.
  assert 'test/precalculus/24307 has the same problem as train/geometry/6032' in text
  assert len(warned()) == 5


def test_no_public_test_problem_is_in_train_or_validation(real):
  found = every(real)
  texts = {split: {' '.join(p.text.split()) for p in problems} for split, problems in found.items()}
  assert not texts['test'] & (texts['train'] | texts['validation'])
  assert not texts['train'] & texts['validation']


def test_no_stop_string_would_cut_a_human_solution(real):
  for problems in every(real).values():
    for problem in problems:
      (solution,) = problem.solutions
      assert solution[0] == ' ' and not solution[1].isspace(), problem.id
      assert not any(s in solution for s in real.stop_strings), problem.id


def test_the_worked_examples_are_the_problems_of_the_minerva_prompt(real):
  examples = real.few_shot().split('\n\nProblem:\n')
  assert len(examples) == 4
  for example, problem, answer in zip(
    examples,
    ('domain of the expression', '\\det (\\mathbf{A} \\mathbf{B})', 'Terrell', '6x-4y&=a'),
    ('[2,5)', '24', '16', '-\\frac{2}{3}'),
    strict=True,
  ):
    question, solution = example.split('\n\nSolution: ')
    assert problem in question and last_box(solution) == answer


def test_gemma_tokenises_prompt_and_solution_apart_as_it_does_together(real):
  spm = pytest.importorskip('sentencepiece')
  path = DATA / 'tokenizers/gemma2_rebuilt.model.gz'
  if not path.exists():
    pytest.skip(f'no {path}')
  tokenizer = spm.SentencePieceProcessor(model_proto=gzip.decompress(path.read_bytes()))
  assert len(tokenizer.encode(real.few_shot())) <= 700
  for problem in real.problems('train', 200, 0):
    prompt, solution = real.prompt(problem), problem.solutions[0]
    assert tokenizer.encode(prompt) + tokenizer.encode(solution) == tokenizer.encode(prompt + solution)


def test_every_human_solution_is_graded_as_right(real):
  wrong = []
  for problems in every(real).values():
    for problem in problems:
      verdict = real.verdict(problem, Sample(problem.id, 0, problem.solutions[0], (), 'stop', 0.0))
      if not verdict.correct:
        wrong.append((problem.id, problem.gold, verdict.answer))
  assert not wrong
