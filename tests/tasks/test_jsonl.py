"""One's own problems from JSON lines: fields by their names, answers by their form, bad rows told of and left out."""

from __future__ import annotations

import gzip
import json
import logging
from pathlib import Path

import pytest

from sweb_jax import tasks
from sweb_jax.records import Problem, Sample
from sweb_jax.tasks import Own, TaskError


def write(path: Path, rows: list) -> Path:
  text = ''.join((r if isinstance(r, str) else json.dumps(r)) + '\n' for r in rows)
  path.write_bytes(gzip.compress(text.encode()) if path.suffix == '.gz' else text.encode())
  return path


def opened(folder: Path, answer: str = 'number', template: str = '', shots: int = 0, fields=(), **files: list):
  """The task of files with these rows."""
  for name, rows in files.items():
    write(folder / f'{name}.jsonl', rows)
  own = Own({name: f'{name}.jsonl' for name in files}, dict(fields), answer, shots)
  return tasks.get('jsonl', data_dir=str(folder), template=template, own=own)


def aime(number: int, **change) -> dict:
  return {'question': f'What is {number} + 1?', 'answer': number + 1} | change


def sample(problem: Problem, text: str, finish: str = 'stop') -> Sample:
  return Sample(problem.id, 0, text, (1,), finish, -1.0)


def all_of(task, split: str) -> list[Problem]:
  """Every problem of a split: a count too many says how many there are."""
  with pytest.raises(TaskError) as e:
    task.problems(split, 10**9, 0)
  return task.problems(split, int(str(e.value).rpartition(' ')[2]), 0)


def test_a_problem_is_a_row_by_the_fields_that_the_config_names(tmp_path):
  rows = [{'problem': ' How many? ', 'final': 7.0, 'key': 12, 'proof': 'It is 3 + 4.', 'hard': 3}]
  fields = {'question': 'problem', 'answer': 'final', 'id': 'key', 'solution': 'proof', 'level': 'hard'}
  task = opened(tmp_path, fields=fields.items(), test=rows)
  (problem,) = task.problems('test', 1, 0, ('3',))
  assert problem == Problem('12', 'How many?', '7', (' It is 3 + 4.\n#### 7',), '3')
  assert task.prompt(problem) == 'Question: How many?\nAnswer:'
  assert task.verdict(problem, sample(problem, f'{problem.solutions[0]}')).correct


def test_a_solution_that_tells_its_answer_stays_as_it_is(tmp_path):
  told = [aime(1, solution='So \\boxed{2}.'), aime(2, solution='#### 3'), aime(3, solution='#### 5')]
  assert {p.solutions[0] for p in all_of(opened(tmp_path, test=told), 'test')} == {
    ' So \\boxed{2}.', ' #### 3', ' #### 5\n#### 4'
  }  # fmt: skip


@pytest.mark.parametrize('name', ['plain.jsonl', 'packed.jsonl.gz'])
def test_one_file_is_shared_out_by_a_hash_of_the_question(tmp_path, name):
  rows = [aime(i) for i in range(400)]
  splits = {}
  for order in (rows, rows[::-1], [*rows[:200], *rows]):  # A question that stands twice is in one split.
    write(tmp_path / name, order)
    task = tasks.get('jsonl', data_dir=str(tmp_path), own=Own({'all': name}, {}, 'number'))
    found = {split: {p.text for p in all_of(task, split)} for split in tasks.SPLITS}
    assert splits in ({}, found)
    splits = found
  assert sorted(t for texts in splits.values() for t in texts) == sorted(r['question'] for r in rows)
  assert 250 < len(splits['train']) < 390 and min(map(len, splits.values())) > 15


def test_files_are_the_splits_and_validation_is_taken_from_train_where_it_has_none(tmp_path, caplog):
  train, test = [aime(i) for i in range(200)], [aime(i) for i in range(195, 205)]
  with caplog.at_level(logging.WARNING):
    task = opened(tmp_path, train=train, test=test)
  found = {split: all_of(task, split) for split in tasks.SPLITS}
  assert len(found['test']) == 10 and len(found['train']) + len(found['validation']) == 200
  assert len(found['validation']) > 5
  twins = [r.getMessage() for r in caplog.records if 'has the same question as' in r.getMessage()]
  in_train = {p.text for p in found['train']}
  assert len(twins) == sum(p.text in in_train for p in found['test']) > 0
  own = opened(tmp_path, train=train, validation=[aime(300)], test=test)
  assert [p.text for p in all_of(own, 'validation')] == ['What is 300 + 1?']
  assert len(all_of(own, 'train')) == 200
  with pytest.raises(TaskError, match='jsonl has no train problems, only test'):
    opened(tmp_path / '.', test=test).problems('train', 1, 0)


def test_a_bad_row_is_named_with_its_line_and_left_out(tmp_path, caplog):
  bad = [
    {'question': 'No answer?'},
    {'question': '  ', 'answer': 1},
    {'question': ['a'], 'answer': 1},
    aime(1, answer='many'),
    aime(2, answer=True),
    aime(3, answer=float('inf')),
    aime(4, id='x'),
    aime(5, solution=7),
  ]
  with caplog.at_level(logging.WARNING):
    task = opened(tmp_path, test=[aime(0, id='x'), *bad, aime(9)])
  assert {p.text for p in all_of(task, 'test')} == {'What is 0 + 1?', 'What is 9 + 1?'}
  said = [r.getMessage() for r in caplog.records]
  assert len(said) == len(bad)
  for number, (line, why) in enumerate(zip(said, (
    'its answer is missing', 'its question is missing', 'its question is missing or not a text',
    "its answer 'many' is no number", 'its answer is missing or not a text', "its answer 'inf' is no number",
    "its id 'x' is that of", 'its solution is missing or not a text',
  ), strict=True), 2):  # fmt: skip
    assert line.startswith(f'jsonl: {tmp_path}/test.jsonl, line {number}: ') and why in line, line
    assert line.endswith('; left out')


@pytest.mark.parametrize(
  ('rows', 'message'),
  [
    ([], r'test\.jsonl: no row has the field .question. for question; fields are none, it is empty'),
    ([{'problem': 'Why?', 'answer': 1}], "no row has the field 'question' for question; fields are problem, answer; "),
    ([{'question': 'Why?', 'answer': 'so'}], r"no row is a problem; .*, line 1: its answer 'so' is no number"),
    (['{"question": '], r'test\.jsonl, line 1: not JSON'),
    (['[1]'], 'line 1: expected a JSON object'),
  ],
)
def test_a_file_that_holds_no_problems_is_an_error_that_names_it(tmp_path, rows, message):
  with pytest.raises(TaskError, match=message) as e:
    opened(tmp_path, test=rows)
  assert 'config.task.f' in str(e.value)


@pytest.mark.parametrize(
  ('own', 'message'),
  [
    (Own({}, {}, 'number'), 'config.task.files={}: give'),
    (Own({'all': 'a', 'test': 'b'}, {}, 'number'), 'config.task.files='),
    (Own({'dev': 'a'}, {}, 'number'), 'config.task.files='),
    (Own({'test': 'none.jsonl'}, {}, 'number'), r'none\.jsonl: cannot be read'),
    (Own({'test': 'a'}, {'text': 'q'}, 'number'), r"config\.task\.fields names \['text'\]; what is sought in a row is"),
    (Own({'test': 'a'}, {}, 'numbers'), "config.task.answer='numbers' is no form of answers; forms are number"),
    (None, r"config\.task\.name='jsonl': name the files"),
  ],
)
def test_what_the_config_lacks_is_named(tmp_path, own, message):
  with pytest.raises(TaskError, match=message):
    tasks.get('jsonl', data_dir=str(tmp_path), own=own)


def test_multiple_choice_takes_letters_numbers_and_texts_and_shows_the_choices(tmp_path):
  choices = ['8', '7', 'none of them']
  rows = [
    {'question': f'Which is prime? ({n})', 'choices': choices, 'answer': answer}
    for n, answer in enumerate(('B', 1, '7'))
  ]
  rows += [{'question': 'Which? (A) one (B) two', 'answer': 'B'}]
  task = opened(tmp_path, 'choice', test=rows)
  found = all_of(task, 'test')
  assert [p.gold for p in found] == ['B'] * 4
  shown = next(p for p in found if '(0)' in p.text)
  assert task.prompt(shown) == 'Question: Which is prime? (0)\n(A) 8\n(B) 7\n(C) none of them\nAnswer:'
  for text in (' 7 has two divisors.\n#### B', ' The answer is (B).', ' So \\boxed{\\text{(B)}}', ' **Answer: B) 7**'):
    assert task.verdict(shown, sample(shown, text)).correct, text
  for text in (' The answer is 7.', ' A', ' #### C', ' #### b', ' Bananas', ''):
    assert not task.verdict(shown, sample(shown, text)).correct, text
  assert task.same(shown, 'B', 'B') and not task.same(shown, 'B', 'C')


def test_multiple_choice_refuses_answers_that_are_no_choice(tmp_path, caplog):
  rows = [{'question': f'{n}?', 'choices': ['x', 'y'], 'answer': a} for n, a in enumerate(('C', 2, 'z', -1, 'AB'))]
  rows += [{'question': 'a?', 'choices': ['x'], 'answer': 'A'}, {'question': 'b?', 'choices': 'xy', 'answer': 'A'}]
  opened(tmp_path, 'choice', test=[*rows, {'question': 'good?', 'choices': ['x', 'y'], 'answer': 'A'}])
  assert len([r for r in caplog.records if 'left out' in r.getMessage()]) == len(rows)


def test_a_text_is_right_where_it_is_the_same_up_to_white_space(tmp_path):
  task = opened(tmp_path, 'text', test=[{'question': 'Capital?', 'answer': 'New  Delhi'}])
  (p,) = task.problems('test', 1, 0)
  for text in (' #### New Delhi', ' The answer is **New Delhi**.', ' \\boxed{New Delhi}'):
    assert task.verdict(p, sample(p, text)).correct, text
  for text in (' #### new delhi', ' #### Delhi', ' It is New Delhi', ''):
    assert not task.verdict(p, sample(p, text)).correct, text
  assert not task.verdict(p, sample(p, ' #### New Delhi', 'length')).correct


def test_a_number_counts_where_it_is_told_and_complete(tmp_path):
  task = opened(tmp_path, test=[{'question': 'n?', 'answer': '204'}])
  (p,) = task.problems('test', 1, 0)
  for text in (' #### 204', ' So $\\boxed{204}$.', ' The answer is 204 apples.', ' The final answer is $204$.'):
    assert task.verdict(p, sample(p, text)).correct, text
  for text in (' 204', ' \\boxed{\\frac{204}{5}}', ' #### 205'):
    assert not task.verdict(p, sample(p, text)).correct, text
  assert task.verdict(p, sample(p, ' It makes 204')).lenient_correct


def test_mathematical_answers_are_those_of_math(tmp_path):
  rows = [{'question': 'x?', 'answer': '\\frac{1}{2}'}, {'question': 'y?', 'answer': 'We get $\\boxed{3}$.'}]
  task = opened(tmp_path, 'mathematical', test=rows)
  half, three = sorted(task.problems('test', 2, 0), key=lambda p: p.text)
  assert (half.gold, three.gold) == ('\\frac{1}{2}', '3')
  assert task.verdict(half, sample(half, ' so $\\boxed{0.5}$')).correct
  assert task.second_opinion


def test_programs_run_against_the_tests_of_their_row(tmp_path):
  rows = [
    {'question': f'Add {n}.', 'tests': [f'assert f(1) == {1 + n}'], 'solution': f'def f(x):\n  return x + {n}'}
    for n in range(40)
  ]
  task = opened(tmp_path, 'program', shots=1, fields={}.items(), train=rows, test=rows[:1])
  (p,) = task.problems('test', 1, 0)
  assert task.prompt(p).endswith('It must pass these tests:\n\nassert f(1) == 1\n[BEGIN]\n')
  assert task.few_shot().endswith('\n[DONE]\n\n') and task.few_shot().count('[BEGIN]') == 1
  right, wrong = task.verdicts([(p, sample(p, p.solutions[0])), (p, sample(p, 'def f(x):\n  return 5'))])
  assert right.correct and not wrong.correct and task.same is None


def test_worked_examples_come_from_the_problems_with_a_solution_and_are_in_no_split(tmp_path):
  rows = [aime(i, **({'solution': f'{i} + 1 = {i + 1}'} if i % 2 else {})) for i in range(100)]
  task = opened(tmp_path, shots=4, train=rows)
  shown = task.few_shot()
  assert shown.count('Question:') == shown.count('\n\n') == shown.count('####') == 4
  texts = {p.text for split in ('train', 'validation') for p in all_of(task, split)}
  assert len(texts) == 96 and not any(text in shown for text in texts)
  with pytest.raises(TaskError, match=r'config\.task\.shots=60: \d+ problems to train on have a solution'):
    opened(tmp_path, shots=60, train=rows)
  with pytest.raises(TaskError, match=r'say how many in config\.task\.shots'):
    opened(tmp_path, train=rows).few_shot()


def test_a_template_takes_the_place_of_the_prompt_also_in_worked_examples(tmp_path):
  rows = [aime(i, solution='So.') for i in range(30)]
  task = opened(tmp_path, template='Solve it: {question}\n\\boxed{} is where the answer goes:', shots=1, train=rows)
  (p,) = task.problems('train', 1, 0)
  assert task.prompt(p) == f'Solve it: {p.text}\n\\boxed{{}} is where the answer goes:'
  assert task.few_shot().startswith('Solve it: What is')
  assert '\nSolve it:' in task.stop_strings and '\nSolve it:' in task.zero_shot_stop_strings
