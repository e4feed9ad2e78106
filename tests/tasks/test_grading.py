"""What stands in a verdict beside the verdict: the lenient reading, math-verify's opinion, the vote."""

import contextlib
import functools
import os
from collections.abc import Iterator

import hypothesis
import pytest
from absl import logging
from etils import epath
from hypothesis import strategies as st

from sweb_jax import tasks
from sweb_jax.answers import grade
from sweb_jax.answers.grade import same
from sweb_jax.answers.pool import Opinion, PoolError
from sweb_jax.records import Problem, Sample, Verdict
from sweb_jax.tasks import grading
from sweb_jax.tasks.arithmetic import Arithmetic

HALF = Problem('half', 'What is half of 1?', r'\frac{1}{2}')
TWO = Problem('two', 'What is 1+1?', '2')


def draw(problem: Problem, *texts: str) -> list[Verdict]:
  samples = (Sample(problem.id, i, text, (), 'stop', 0.0) for i, text in enumerate(texts))
  return [grading.verdict('math', problem, sample) for sample in samples]


@contextlib.contextmanager
def absl_logging_off() -> Iterator[None]:
  before = logging.get_verbosity()
  logging.set_verbosity(logging.FATAL)  # Gold answers that are no number are told of one by one.
  try:
    yield
  finally:
    logging.set_verbosity(before)


def same_in_math(problem: Problem, one: str, other: str) -> bool:
  return same('math', one, other)


def test_a_lenient_answer_is_recorded_and_does_not_count():
  strict, loose, wrong, none = draw(HALF, r'\boxed{0.5}', 'Half of it: $1/2$', 'Half of it: $1/3$', 'I give up.')
  assert (strict.correct, strict.lenient, strict.lenient_correct, strict.reason) == (True, '0.5', True, 'right')
  assert (loose.correct, loose.answer, loose.lenient, loose.lenient_correct) == (False, None, '1/2', True)
  assert (wrong.answer, wrong.lenient_correct, wrong.reason) == (None, False, 'no answer')
  assert (none.lenient, none.lenient_correct) == (None, False)


def test_a_sample_that_was_cut_has_no_answer_in_any_reading():
  cut = grading.verdict('math', HALF, Sample('half', 0, r'\boxed{0.5}', (), 'length', 0.0))
  assert cut == Verdict('half', 0, None, False, 'truncated', lenient_correct=False)


def test_second_opinions_are_on_the_lenient_answer_and_each_is_asked_for_once(tmp_path, monkeypatch):
  asked = []

  class Pool(grading.Pool):
    def second_opinions(self, pairs):
      asked.extend(pairs)
      return super().second_opinions(pairs)

  monkeypatch.setattr(grading, 'Pool', Pool)
  texts = r'\boxed{0.5}', 'It is $1/2$', r'\boxed{2}', r'\boxed{0.5}', 'I give up.', r'\boxed{\frac{1}{}}'
  verdicts = draw(HALF, *texts)
  verdicts += draw(TWO, r'\boxed{0.5}')
  with grading.SecondOpinions(epath.Path(tmp_path)) as opinions:
    found = opinions.add([HALF, TWO], verdicts)
  assert [v.second_opinion for v in found[:5]] == [True, True, False, True, None]
  assert [v.second_reason for v in found[:5]] == ['agrees', 'agrees', 'agrees', 'agrees', '']
  assert (found[5].second_opinion or False) == (found[5].second_reason == 'differs')
  assert (found[6].second_opinion, found[6].second_reason) == (False, 'agrees')
  assert len(asked) == len(set(asked)) == 5
  # The verdict itself is as it was.
  plain = [(v.answer, v.correct, v.reason, v.lenient, v.lenient_correct) for v in verdicts]
  assert [(v.answer, v.correct, v.reason, v.lenient, v.lenient_correct) for v in found] == plain


def test_second_opinions_are_kept_for_whoever_asks_next_and_time_outs_are_not(tmp_path, monkeypatch):
  verdicts = draw(HALF, r'\boxed{0.5}', r'\boxed{1/3}', r'\boxed{9^{9^{9^9}}}')
  with grading.SecondOpinions(epath.Path(tmp_path)) as opinions:
    found = opinions.add([HALF], verdicts)
    pids = opinions._pool.pids
  assert [v.second_reason for v in found] == ['agrees', 'agrees', 'timed out']
  assert pids and not any(os.path.exists(f'/proc/{pid}') for pid in pids)
  asked = []

  class Pool(grading.Pool):
    def second_opinions(self, pairs):
      asked.extend(pairs)
      return iter([Opinion(False, 'not equal')] * len(pairs))

  monkeypatch.setattr(grading, 'Pool', Pool)
  with grading.SecondOpinions(epath.Path(tmp_path), 'other-') as later:
    again = later.add([HALF], verdicts)
    assert again[:2] == found[:2] and again[2].second_opinion is False
    assert asked == [(HALF.gold, '9^{9^{9^9}}')]
    assert later.add([HALF], verdicts) == again and len(asked) == 1
  assert sorted(p.name for p in tmp_path.iterdir()) == ['pairs-000000.jsonl', 'pairs-other-000000.jsonl']


def test_there_are_as_many_workers_as_there_is_to_ask(tmp_path, monkeypatch):
  monkeypatch.setattr(grading, '_PAIRS_A_WORKER', 3)
  monkeypatch.setattr(os, 'cpu_count', lambda: 2)
  counts = []
  with grading.SecondOpinions(epath.Path(tmp_path)) as opinions:
    for some in (range(1, 3), range(1, 2), range(3, 10), range(10, 11)):
      found = opinions.add([HALF], draw(HALF, *(rf'\boxed{{{i}}}' for i in some)))
      assert [v.second_reason for v in found] == ['agrees'] * len(some)
      counts.append(len(opinions._pool.pids))
  assert counts == [1, 1, 2, 2]


def test_second_opinions_that_came_before_the_end_are_not_asked_for_again(tmp_path, monkeypatch):
  verdicts = draw(HALF, *(rf'\boxed{{{i}}}' for i in range(1, 8)))

  class Pool(grading.Pool):
    left = 5

    def second_opinions(self, pairs):
      for pair in pairs:
        if not Pool.left:
          raise KeyboardInterrupt
        Pool.left -= 1
        asked.append(pair)
        yield Opinion(False, 'not equal')

  monkeypatch.setattr(grading, 'Pool', Pool)
  monkeypatch.setattr(grading, '_PAIRS', 2)
  asked = []
  with pytest.raises(KeyboardInterrupt), grading.SecondOpinions(epath.Path(tmp_path)) as opinions:
    opinions.add([HALF], verdicts)
  assert len(list(tmp_path.iterdir())) == 3 and len(asked) == 5  # Of 2, 2 and 1.
  Pool.left = 9
  with grading.SecondOpinions(epath.Path(tmp_path)) as opinions:
    found = opinions.add([HALF], verdicts)
  assert [v.second_reason for v in found] == ['agrees'] * 7 and len(asked) == len(set(asked)) == 7


def test_a_math_verify_that_cannot_be_run_is_named_with_how_to_go_without(tmp_path, monkeypatch):
  def refuse(*_):
    raise PoolError('math-verify cannot be imported')

  monkeypatch.setattr(grading.Pool, '__enter__', refuse)
  with pytest.raises(PoolError, match=r'cannot be imported; --config\.grading\.second_opinion=False goes without'):
    grading.SecondOpinions(epath.Path(tmp_path)).add([HALF], draw(HALF, r'\boxed{0.5}'))


def test_where_nothing_was_answered_no_worker_is_started(tmp_path, monkeypatch):
  monkeypatch.setattr(grading, 'Pool', None)
  verdicts = draw(HALF, 'I give up.')
  assert grading.SecondOpinions(epath.Path(tmp_path)).add([HALF], verdicts) == verdicts


def test_a_sample_on_which_the_grader_fails_is_wrong_with_the_reason_and_stops_nothing(monkeypatch):
  real = grading.grade.grade

  def grade(task, gold, text, problem=''):
    if 'crash' in text:
      raise ZeroDivisionError('of this grader')
    return real(task, gold, text, problem)

  class Task:
    second_opinion = True

    def verdict(self, problem, sample):
      return grading.verdict('math', problem, sample)

  monkeypatch.setattr(grading.grade, 'grade', grade)
  texts = (r'\boxed{0.5}', r'\boxed{crash}', r'\boxed{1/2}')
  found = tasks.verdicts(Task(), ((HALF, Sample('half', i, t, (), 'stop', 0.0)) for i, t in enumerate(texts)))
  assert [(v.index, v.correct, v.reason) for v in found] == [
    (0, True, 'right'),
    (1, False, 'could not be graded: ZeroDivisionError: of this grader'),
    (2, True, 'right'),
  ]
  assert (found[1].answer, found[1].lenient_correct) == (None, False)


def test_a_problem_that_the_task_cannot_grade_is_an_error():
  class Task:
    second_opinion = False

    def verdict(self, problem, sample):
      raise tasks.TaskError('another world')

  with pytest.raises(tasks.TaskError, match='another world'):
    tasks.verdicts(Task(), [(HALF, Sample('half', 0, '', (), 'stop', 0.0))])


def test_answers_that_cannot_be_compared_do_not_vote_together():
  def same(problem, one, other):
    if 'x' in one + other:
      raise ArithmeticError('no comparison')
    return one == other

  verdicts = [Verdict('two', i, a, False, '') for i, a in enumerate(['1', 'x', '1', 'x', '2'])]
  assert [v.vote for v in grading.add_votes(same, [TWO], verdicts)] == [0, 1, 0, 1, 4]


def test_equal_answers_vote_for_the_first_of_them():
  texts = [rf'\boxed{{{a}}}' for a in ('3', '1/2', '0.5', '3.0', r'\frac12', '7')] + ['I give up.']
  found = grading.add_votes(same_in_math, [HALF], draw(HALF, *texts))
  assert [v.vote for v in found] == [0, 1, 1, 0, 1, 5, None]


def test_votes_of_problems_are_apart_and_do_not_depend_on_the_order_of_rows():
  verdicts = draw(HALF, r'\boxed{4}', r'\boxed{2}') + draw(TWO, r'\boxed{2}', r'\boxed{4}', r'\boxed{2.0}')
  found = grading.add_votes(same_in_math, [HALF, TWO], verdicts[::-1])
  assert [(v.problem_id, v.index, v.vote) for v in found[::-1]] == [
    ('half', 0, 0), ('half', 1, 1), ('two', 0, 0), ('two', 1, 1), ('two', 2, 0)
  ]


def test_the_gold_answer_has_no_part_in_the_votes():
  texts = [rf'\boxed{{{a}}}' for a in ('1/2', '0.5', '2')]
  other = Problem('half', HALF.text, '2')
  for problem in (HALF, other):
    assert [v.vote for v in grading.add_votes(same_in_math, [problem], draw(problem, *texts))] == [0, 0, 2]


def test_of_answers_near_each_other_the_first_decides():
  near = lambda problem, one, other: abs(int(one) - int(other)) <= 1  # noqa: E731
  verdicts = [Verdict('two', i, a, False, '') for i, a in enumerate(['1', '2', '3', '2'])]
  assert [v.vote for v in grading.add_votes(near, [TWO], verdicts)] == [0, 0, 2, 0]


ANSWERS = {
  'math': (
    *('1/2', '0.5', r'\frac{2}{4}', r'50\%', '50', r'50\text{ cm}', r'50\text{ km}', '1/3', '0.33333', '0.33334'),
    *('(1,2)', r'\begin{pmatrix}1\\2\end{pmatrix}', r'\begin{pmatrix}1&2\end{pmatrix}', r'\mathbf{i}+2\mathbf{j}'),
    *('1,2', r'\{2,1\}', '1,200', '1200', '(1,200)', 'x=5', 'y=5', '5', '5=x', '2x=10', r'\{5\}', '1, 2, 1'),
    *(r'\sin(\pi)', '0', '1e-12', r'x > 3', r'(3,\infty)', r'\text{(C)}', 'C', 'c', r'\frac{', '', '11_4', '11'),
    *('x^2-1', '(x-1)(x+1)', r'\ln(x^2)', r'2\ln x', r'\sqrt{x^2}', 'x', '[1,1]', '[0.5,0.5]', 'x-x+5', '9^{9^9}'),
  ),
  'functional_math': ('1.38', r'\frac{11}{8}', '1.375', '1.4', '1.38_2', '1', '1.0', 'x = 1.38', 'x', '0.01', '0.014'),
  'gsm8k': ('18', '$18.00', '**18** dollars', '18.0', '18.0001', '1,080', '1080', 'eighteen', '', '18 or 19'),
  'text': ('a b', ' a  b', 'ab', 'A b', ''),
  'arithmetic': ('2', '2', '3', '02'),
}


@pytest.mark.parametrize('task', ANSWERS)
@hypothesis.settings(max_examples=150, deadline=None, database=None, derandomize=True)
@hypothesis.given(data=st.data())
def test_votes_by_keys_are_those_of_comparing_all_answers_in_whatever_order_they_come(task, data):
  answers = data.draw(st.permutations(ANSWERS[task]))[: data.draw(st.integers(1, 25))]
  verdicts = [Verdict('two', i, answer, False, '') for i, answer in enumerate(answers)]
  with absl_logging_off():
    slow = grading.add_votes(lambda _, one, other: same(task, one, other), [TWO], verdicts)
    assert slow == grading.add_votes(
      lambda _, one, other: same(task, one, other), [TWO], verdicts, functools.partial(grade.keys, task)
    )


def test_many_different_answers_are_hardly_compared():
  compared = []

  def counted(problem: Problem, one: str, other: str) -> bool:
    compared.append((one, other))
    return same('math', one, other)

  kinds = ('{}', '{}.5', r'\frac{{{}}}{{7}}', r'{}\sqrt{{3}}', '({},1)', 'x={}', r'\frac{{1}}{{{}}}', '{}^2+x')
  answers = [kind.format(n) for n in range(2, 42) for kind in kinds]
  verdicts = [Verdict('two', i, answer, False, '') for i, answer in enumerate(answers)]
  grading.add_votes(counted, [TWO], verdicts, functools.partial(grade.keys, 'math'))
  assert len(compared) < 3 * len(answers)  # And not half of the square, 51,040.


@pytest.mark.parametrize('name', ['gsm8k', 'svamp', 'math', 'functional_math', 'mbpp', 'humaneval'])
def test_every_task_says_how_its_answers_are_compared(name):
  module = __import__(f'sweb_jax.tasks.{name}', fromlist=['_'])
  task = getattr(module, tasks._FROM_FILES[name])
  programs = name in ('mbpp', 'humaneval')
  assert (task.same is None) == programs
  assert hasattr(task, 'keys') != programs
  assert task.second_opinion == (not programs)
  assert task.zero_shot_stop_strings  # A base model runs on without worked examples too.


def test_the_embedded_task_needs_no_second_opinion_and_no_stop_strings():
  task = Arithmetic()
  assert not task.second_opinion and task.zero_shot_stop_strings == ()
  assert task.same(TWO, '2', '2') and not task.same(TWO, '2', '3')
