"""Prompts by a template, of any task."""

from __future__ import annotations

import pytest

from sweb_jax import tasks
from sweb_jax.records import Problem
from sweb_jax.tasks import TaskError, template


def test_only_the_places_are_filled_and_nothing_that_stands_in_a_problem_is():
  problem = Problem('p', 'Is {tests} a \\frac{1}{2} of {question}?', 'import x\nassert f(1)\nassert g(2)')
  filled = template.fill('{{question}} \\boxed{} {tests} {other}', problem)
  assert filled == '{Is {tests} a \\frac{1}{2} of {question}?} \\boxed{} assert f(1)\nassert g(2) {other}'


@pytest.mark.parametrize(
  ('text', 'head'),
  [
    ('Problem:\n{question}', 'Problem:'),
    ('Be brief.\n\nQ: {question}\nA:', 'Q:'),
    ('Be brief.\n\n{question}', ''),
    ('{question}', ''),
  ],
)
def test_the_head_of_a_question_is_what_ends_the_completion_before_it(text, head):
  assert template.head(text) == head


def test_a_built_in_task_is_asked_by_a_template():
  plain, other = tasks.get('arithmetic'), tasks.get('arithmetic', template='q {question} A:')
  (problem,) = plain.problems('train', 1, 0)
  assert other.problems('train', 1, 0) == [problem]
  assert other.prompt(problem) == f'q {problem.text} A:' != plain.prompt(problem)


@pytest.mark.parametrize(
  ('text', 'message'), [('Solve it.', "has no '{question}'"), ('{question} A: ', 'ends in a space')]
)
def test_a_template_that_cannot_be_filled_in_is_refused(text, message):
  with pytest.raises(TaskError, match=rf'config\.task\.template=.*{message}'):
    tasks.get('arithmetic', template=text)
