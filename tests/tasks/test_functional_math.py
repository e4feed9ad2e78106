"""Functional MATH: what the file must hold, and how near a decimal answer must be."""

import json
import os
import pathlib

import pytest

from sweb_jax import tasks
from sweb_jax.answers import computed
from sweb_jax.records import Sample
from sweb_jax.tasks import TaskError
from sweb_jax.tasks.functional_math import FunctionalMath
from sweb_jax.tasks.math import FEW_SHOT, Math

ROOT = pathlib.Path(__file__).parents[2]
DATA = pathlib.Path(os.environ.get('SWEB_TEST_DATA', ROOT / '../shared/data'))


def row(number, gold='', problem='', **change):
  """One row in the form of the snapshots."""
  return {
    'id': f'test/algebra/{number}',
    'problem': problem or f'What is ${number}+2$?',
    'level': f'Level {number % 5 + 1}',
    'type': 'Algebra',
    'solution': f'\\boxed{{{gold or number + 2}}}',
    'is_static': False,
  } | change


def write(folder, rows, name='Oct-2023'):
  folder.mkdir(parents=True, exist_ok=True)
  (folder / f'{name}.jsonl').write_text(''.join(json.dumps(r) + '\n' for r in rows))
  return folder


def graded(folder, gold, answer, problem=''):
  task = FunctionalMath(write(folder, [row(1, gold, problem)]))
  sample = Sample('test/algebra/1', 0, f' It is $\\boxed{{{answer}}}$.', (), 'stop', 0.0)
  return task.verdict(task.problems('test', 1, 0)[0], sample).correct


@pytest.fixture
def small(tmp_path):
  return FunctionalMath(write(tmp_path, [row(i) for i in range(20)]))


@pytest.fixture(scope='module')
def real():
  if not (DATA / 'functional_math').exists():
    pytest.skip(f'no data in {DATA}')
  return FunctionalMath(DATA / 'functional_math')


def test_a_problem_is_a_row_asked_like_math_and_without_a_solution_to_learn_from(small):
  problem = next(p for p in small.problems('test', 20, 0) if p.id == 'test/algebra/7')
  assert (problem.text, problem.gold, problem.level, problem.solutions) == ('What is $7+2$?', '9', 'Level 3', ())
  assert small.prompt(problem) == 'Problem:\nWhat is $7+2$?\n\nSolution:'
  assert small.stop_strings == Math.stop_strings


def test_there_is_only_a_test_split(small):
  for split in ('train', 'validation'):
    with pytest.raises(TaskError, match=f'functional_math has no {split} problems, only test'):
      small.problems(split, 1, 0)


@pytest.mark.parametrize(
  ('gold', 'answer', 'right'),
  [
    ('12', '12', True),
    ('12', '12.001', False),
    ('376226', '376227', False),
    ('\\frac{13}{4096}', '\\frac{13}{4096}', True),
    # Rounded to two or three places, though the problem does not say so.
    ('2333.33', '\\frac{7000}{3}', True),
    ('65.192', '5\\sqrt{170}', True),
    ('1.38', '1.375', True),
    ('1.38', '\\frac{11}{8}', True),
    ('1.38', '11/8', True),
    ('1.38', '1.39', False),
    ('1.38', '\\frac{11}{0}', False),
    ('1.38', "__import__('os').getpid()", False),
    # As floating-point arithmetic left it.
    ('20.785714285714285', '20.79', True),
    ('20.785714285714285', '\\frac{291}{14}', True),
    ('20.785714285714285', '20.7', False),
    ('195.54999999999998', '195.55', True),
    ('0.00023674242424242425', '\\frac{1}{4224}', True),
    ('0.00023674242424242425', '0', False),
    ('0.00023674242424242425', '0.0003', False),
    ('40676162.5', '40676162.5', True),
    ('40676162.5', '40676163', False),
    ('3.0', '3', True),
    ('376226.0', '376226', True),
    ('376226.0', '376225', False),
    ('-252.51', '252.51', False),
    ('\\$82.37', '82.37', True),
    ('\\$82.37', '\\$83', False),
    ('0.11_{2}', '0.11_2', True),
    ('0.000110001100101001_{2}', '0.000110001100101000_{2}', False),
  ],
)
def test_a_decimal_gold_answer_is_met_to_two_places_and_any_other_exactly(tmp_path, gold, answer, right):
  assert graded(tmp_path, gold, answer) is right


@pytest.mark.parametrize(
  ('problem', 'answer', 'right'),
  [
    ('Find $f(\\pi)$.', '181-\\pi^2', True),
    ('Find $f(\\pi)$.', '171.13', True),
    ('Find $f(\\pi)$.', '171.1404', True),
    ('Find $f(\\pi)$.', '172', False),
    ('Find $f(2)$.', '171.13', False),
  ],
)
def test_a_gold_answer_computed_with_a_rough_pi_is_met_by_the_true_one(tmp_path, problem, answer, right):
  assert graded(tmp_path, '171.1404', answer, problem) is right


@pytest.mark.parametrize(
  ('text', 'finish', 'reason'),
  [
    (' I do not know.', 'stop', 'no answer'),
    (' It is $\\boxed{3}$.', 'length', 'truncated'),
    (' It is $\\boxed{3}$.', 'stop', 'right'),
  ],
)
def test_a_verdict_says_why(tmp_path, text, finish, reason):
  task = FunctionalMath(write(tmp_path, [row(1)]))
  verdict = task.verdict(task.problems('test', 1, 0)[0], Sample('test/algebra/1', 3, text, (), finish, 0.0))
  assert (verdict.problem_id, verdict.index, verdict.valid) == ('test/algebra/1', 3, None)
  assert verdict.reason == reason


def test_the_worked_examples_are_those_of_math_beside_it(tmp_path):
  task = FunctionalMath(write(tmp_path / 'functional_math', [row(1)]))
  with pytest.raises(TaskError, match=r'are those of MATH, and there is no math/train\.jsonl'):
    task.few_shot()
  write(tmp_path / 'math', [row(i, id=name) for i, name in enumerate(FEW_SHOT)], 'train')
  for data_dir in (tmp_path, tmp_path / 'functional_math'):
    text = FunctionalMath(data_dir).few_shot()
    assert text.startswith('Problem:\nWhat is $0+2$?\n\nSolution: \\boxed{2}\n\nProblem:\n')
    assert text.count('Problem:') == 4


def test_missing_files_are_named_with_where_they_come_from(tmp_path):
  missing = r'there is no Oct-2023\.jsonl or'
  for data_dir, message in [('', 'functional_math needs its files'), (str(tmp_path), missing)]:
    with pytest.raises(TaskError, match=message) as error:
      tasks.get('functional_math', data_dir=data_dir)
    assert 'github.com/ConsequentAI/fneval' in str(error.value)


def test_a_bad_row_is_named_with_what_to_do_for_this_set(tmp_path):
  with pytest.raises(TaskError, match=r"Oct-2023\.jsonl, line 2: the field 'problem' is missing.*fneval"):
    FunctionalMath(write(tmp_path, [row(0), {**row(1), 'problem': ''}]))


def test_the_public_file_is_whole_and_every_gold_answer_equals_itself(real):
  found = real.problems('test', 1_745, 0)
  assert len({p.id for p in found}) == 1_745
  assert [sum(p.level == f'Level {i}' for p in found) for i in range(1, 6)] == [261, 463, 462, 346, 213]
  assert sum(computed.tolerance(p.gold, p.text) > 0 for p in found) == 93
  wrong = []
  for problem in found:
    text = f' Therefore, the answer is $\\boxed{{{problem.gold}}}$.'
    if not real.verdict(problem, Sample(problem.id, 0, text, (), 'stop', 0.0)).correct:
      wrong.append((problem.id, problem.gold))
  assert not wrong
