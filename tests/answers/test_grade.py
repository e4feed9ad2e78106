"""A grade is the own comparison's; math-verify's opinion stands beside it, in the order of the rows."""

import itertools

import pytest

from sweb_jax.answers import pool as pool_lib
from sweb_jax.answers.grade import TASKS, Grade, add_opinions, compare, grade, grade_all
from sweb_jax.answers.pool import Pool


@pytest.fixture(scope='module')
def pool():
  with Pool(workers=1, deadline=5.0) as pool:
    yield pool


@pytest.mark.parametrize('task', ['math', 'functional_math'])
def test_a_boxed_answer_is_graded(task):
  right = grade(task, '\\frac{1}{2}', 'So it is $\\boxed{\\frac12}$.')
  assert right == Grade('\\frac12', True, 'right', '\\frac12', True)
  wrong = grade(task, '\\frac{1}{2}', 'So it is $\\boxed{\\frac13}$.')
  assert (wrong.correct, wrong.reason, wrong.lenient_correct) == (False, 'wrong answer', False)


def test_computed_gold_answers_are_rounded():
  assert compare('functional_math', '12.566370614359', '4\\pi').correct
  assert compare('functional_math', '12.56', '4\\pi').correct
  assert not compare('math', '12.56', '4\\pi').correct


@pytest.mark.parametrize('task', ['gsm8k', 'svamp'])
def test_an_answer_line_is_graded(task):
  assert grade(task, '1080', ' 2*540=1080\n#### 1,080') == Grade('1080', True, 'right', '1080', True)
  assert grade(task, '1080', ' 2*540=1080\n#### 1,081') == Grade('1081', False, 'wrong answer', '1081', False)


@pytest.mark.parametrize('task', TASKS)
def test_no_answer_is_wrong(task):
  found = grade(task, '4', '')
  assert found == Grade(None, False, 'no answer', None, False)


def test_a_task_that_nobody_knows_is_refused():
  with pytest.raises(ValueError, match="task='maths' is not one of math, functional_math, gsm8k, svamp"):
    grade('maths', '1', '1')


def test_a_gold_answer_that_is_no_number_is_the_fault_of_its_row():
  with pytest.raises(ValueError, match='not a number'):
    compare('gsm8k', 'four', '4')
  with pytest.raises(ValueError, match=r"^row 1: .*'four'"):
    list(grade_all([('4', '#### 4'), ('four', '#### 4')], 'gsm8k', None))


def test_second_opinions_stand_beside_the_own_verdict(pool):
  rows = [
    ('4', 'It is \\boxed{4}.'),
    ('4', 'It is \\boxed{5}.'),
    ('4', 'I give up.'),
    ('4', 'I take $4$.'),
    ('4', 'It is \\boxed{' + '(' * 50 + '5' + ')' * 50 + '}.'),
    ('4', 'It is \\boxed{4}.'),
  ]
  found = list(grade_all(rows, 'math', pool))
  assert [(g.correct, g.second_opinion, g.second_reason) for g in found] == [
    (True, True, 'agrees'),
    (False, False, 'agrees'),
    (False, None, 'no answer'),
    (False, True, 'agrees'),  # With the lenient reading.
    (False, None, 'too deep'),
    (True, True, 'agrees'),
  ]


def test_where_the_two_differ_the_grade_says_so_and_the_own_verdict_stands(pool):
  # Numbers of gsm8k are compared exactly, and math-verify rounds to six decimals.
  [found] = grade_all([('0.33333333', '#### 0.333333331')], 'gsm8k', pool)
  assert found == Grade('0.333333331', False, 'wrong answer', '0.333333331', False, True, 'differs')


def test_without_a_pool_nobody_else_is_asked():
  rows = [('4', '#### 4'), ('4', '#### 5'), ('4', '')]
  assert list(grade_all(rows, 'gsm8k', None)) == [grade('gsm8k', *row) for row in rows]


def test_every_item_comes_back_with_its_own_grade(pool):
  graded = [(i, '4', None if i % 3 == 0 else compare('gsm8k', '4', str(i % 5))) for i in range(50)]
  for (item, found), (expected, _, before) in zip(add_opinions(graded, pool), graded, strict=True):
    assert item == expected
    assert (found is None) == (before is None)
    if found is not None:
      assert (found.answer, found.correct, found.second_opinion) == (str(item % 5), item % 5 == 4, item % 5 == 4)


def test_rows_without_end_are_graded_as_they_come(pool):
  read = itertools.count()
  rows = (('4', '') for _ in read)
  for found in itertools.islice(grade_all(rows, 'gsm8k', pool), 2000):
    assert found.reason == 'no answer'
  assert next(read) <= 2000 + pool_lib.WINDOW + 1
