"""Prompts by a template in place of a task's own."""

from __future__ import annotations

import re

from sweb_jax.records import Problem
from sweb_jax.tasks import TaskError

_PLACE = re.compile(r'\{(question|tests)\}')


def fill(template: str, problem: Problem) -> str:
  """The template with the text of a problem for '{question}', and with the asserts among its tests for '{tests}'.

  Nothing else in it is touched: braces of TeX stand as they are.
  """
  tests = '\n'.join(line for line in problem.gold.split('\n') if line.startswith('assert'))
  return _PLACE.sub(lambda place: {'question': problem.text, 'tests': tests}[place[1]], template)


def head(template: str) -> str:
  """The last words before the question on their line, as 'Problem:'; '' where it begins a paragraph by itself."""
  before = template.partition('{question}')[0].rstrip(' ')
  return before.rstrip('\n').rpartition('\n')[2].strip() if not before.endswith('\n\n') else ''


def with_template(kind: type, template: str) -> type:
  """A class of tasks whose prompts are those of the template, and whose worked examples are too.

  A base model that runs on writes the head of a next problem, which ends a completion. Raises TaskError for a template
  without a place for the question.
  """
  if '{question}' not in template:
    raise TaskError(f"config.task.template={template!r:.80}: has no '{{question}}', where the text of the problem goes")
  if template.endswith(' '):
    raise TaskError(f'config.task.template={template!r:.80}: ends in a space; leave it off, a solution begins with one')
  ends = (f'\n{words}',) if (words := head(template)) else ()

  class Templated(kind):
    stop_strings = (*kind.stop_strings, *ends)
    zero_shot_stop_strings = (*kind.zero_shot_stop_strings, *ends)

    def prompt(self, problem: Problem) -> str:
      return fill(template, problem)

  return Templated
