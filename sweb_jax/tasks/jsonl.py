"""Problems from a user's own JSON-lines files: which field is what, and of which form the answers are.

docs/own_tasks.md shows configs. A row that lacks something is left out with a warning that names its line; only files
that cannot be read, and a field that no row has, stop a study.
"""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Any

from absl import logging
from etils import epath

from sweb_jax import answers
from sweb_jax.answers import completions, extract, grade
from sweb_jax.answers.apart import Keys
from sweb_jax.records import Problem, Sample, Verdict
from sweb_jax.runtime import typed
from sweb_jax.tasks import SPLITS, Own, TaskError, data_files, grading, programs, splits
from sweb_jax.tasks.template import fill

ALL = 'all'
"""In place of splits: one file, shared out by a hash of the question."""

SOURCE = 'config.task.files and config.task.fields say which file and field are what (docs/own_tasks.md)'

_SHARE = 10
"""One problem in so many is for validation where no file is, and one for the test where there is one file for all."""
_WARNED = 20
_LETTERS = 'ABCDEFGHIJKLMNOPQRSTUVWXYZ'


@dataclasses.dataclass(frozen=True)
class Form:
  """A form of answers."""

  grader: str
  """The task whose answers are of this form, in `answers.grade`."""
  end: str
  """What a solution by people gets at its end where its answer cannot be read from it."""
  second_opinion: bool = False


FORMS = {
  'number': Form('number', '\n#### {}', True),
  'mathematical': Form('math', '\n$\\boxed{{{}}}$', True),
  'choice': Form('choice', '\n#### {}'),
  'text': Form('text', '\n#### {}'),
  'program': Form('mbpp', ''),
  'instructions': Form('', ''),  # `instructions.Instructions`
}
"""Name in `config.task.answer` -> form."""


def kind(own: Own) -> type[Jsonl]:
  """The class for a form of answers. Raises TaskError for an unknown form."""
  if own.answer not in FORMS:
    raise TaskError(f'config.task.answer={own.answer!r} is no form of answers; forms are {", ".join(FORMS)}')
  return {'program': Programs}.get(own.answer, Opinionated if FORMS[own.answer].second_opinion else Jsonl)


class Jsonl:
  """The Task of one's own problems whose answer is a letter or a text.

    prompt    'Question: Which is a prime?\\n(A) 8\\n(B) 7\\nAnswer:'
    solution  ' Only 7 has two divisors.\\n#### B'

  `Problem.id` is the file's, or '{split}/{0-based row}'.
  """

  template = 'Question: {question}\nAnswer:'
  stop_strings = ('\n\n', '\nQuestion:')
  zero_shot_stop_strings = ('\nQuestion:',)
  second_opinion = False
  shown_end = '\n\n'
  """After a worked example."""
  roles: Mapping[str, str] = {
    role: role for role in ('question', 'answer', 'id', 'solution', 'level', 'choices', 'tests')
  }
  """What is sought in a row -> what it is called, if the config does not say otherwise."""
  needed = frozenset({'question', 'answer'})
  """What some row must have."""

  def __init__(self, data_dir: epath.PathLike, own: Own):
    """Reads the files. Raises TaskError, which names the file, the line and the field at fault."""
    self._own, self._form = own, FORMS[own.answer]
    if not own.files or (ALL in own.files and len(own.files) > 1) or set(own.files) - {ALL, *SPLITS}:
      raise TaskError(
        f'config.task.files={own.files}: give {{{ALL!r}: FILE}}, or a file for some of {", ".join(SPLITS)}'
      )
    if unknown := set(own.fields) - set(self.roles):
      raise TaskError(f'config.task.fields names {sorted(unknown)}; what is sought in a row is {", ".join(self.roles)}')
    known: dict[str, str] = {}
    parts = {name: self._read(epath.Path(data_dir) / file, name, known) for name, file in own.files.items()}
    self._splits = _split(parts)
    self._shots = self._show(self._splits.get('train', []))
    shown = {splits.digest(p.text) for p in self._shots}
    self._splits = {
      name: [p for p in found if name == 'test' or splits.digest(p.text) not in shown]
      for name, found in self._splits.items()
    }
    train = self._splits.get('train', [])
    for name in ('validation', 'test'):
      splits.warn_of_copies('jsonl', self._splits.get(name, []), [*train, *self._shots], 'question')

  def problems(self, split: str, count: int, seed: int, levels: Sequence[str] = ()) -> list[Problem]:
    """The first `count` problems of `split` in an order drawn by `seed`; a smaller count is a prefix of a larger.

    Raises TaskError for a split without a file, an unknown level, or more problems than there are.
    """
    return splits.choose('jsonl', self._splits, split, count, seed, levels)

  def prompt(self, problem: Problem) -> str:
    """The zero-shot prompt; a solution, which begins with a space, follows it directly."""
    return fill(self.template, problem)

  def few_shot(self) -> str:
    """So many worked examples as `config.task.shots` says; none for a set to test on alone."""
    if not self._own.shots and 'train' in self._splits:
      raise TaskError('config.sampling.few_shot=True needs worked examples: say how many in config.task.shots')
    return ''.join(f'{self.prompt(p)}{p.solutions[0]}{self.shown_end}' for p in self._shots)

  def verdict(self, problem: Problem, sample: Sample) -> Verdict:
    """Right where the answer in its form is the gold answer; reasoning is not checked."""
    return grading.verdict(self._form.grader, problem, sample)

  def same(self, problem: Problem, gold: str, answer: str) -> bool:
    """Whether two answers are equal, as their form has it."""
    return grade.same(self._form.grader, gold, answer)

  def keys(self, answer: str) -> Keys | None:
    """Keys by which answers are told apart (`answers.apart`)."""
    return grade.keys(self._form.grader, answer)

  def _read(self, path: epath.Path, part: str, known: dict[str, str]) -> list[Problem]:
    """The problems of a file; `known` has the place of each id, of all files so far."""
    rows = data_files.of_file(path, SOURCE).rows
    names = {**self.roles, **self._own.fields}
    for role in self.roles:
      if (role in self.needed or role in self._own.fields) and not any(names[role] in row for _, row in rows):
        has = typed.names(rows[0][1]) if rows else 'none, it is empty'
        raise TaskError(f"{path}: no row has the field '{names[role]}' for {role}; fields are {has}; {SOURCE}")
    found, faults = [], []
    for number, (where, row) in enumerate(rows):
      said = {role: row.get(name) for role, name in names.items()}
      try:
        problem = self._problem(said, f'{part}/{number}')
      except ValueError as e:
        faults.append(f'{where}: {e}')
        continue
      if problem.id in known:
        faults.append(f'{where}: its id {problem.id!r} is that of {known[problem.id]}')
        continue
      known[problem.id] = where
      found.append(problem)
    if odd := self._faults(found):
      faults += [f'{known[p]}: {why}' for p, why in odd.items()]
      found = [p for p in found if p.id not in odd]
    for fault in faults[:_WARNED]:
      logging.warning('jsonl: %s; left out', fault)
    if len(faults) > _WARNED:
      logging.warning('jsonl: %s: %d more rows are left out', path, len(faults) - _WARNED)
    if not found:
      raise TaskError(f'{path}: no row is a problem; {faults[0] if faults else "it is empty"}; {SOURCE}')
    return found

  def _faults(self, found: list[Problem]) -> dict[str, str]:
    """Problem id -> what else is wrong with it, of the problems of a file."""
    return {}

  def _problem(self, said: Mapping[str, Any], problem_id: str) -> Problem:
    """The problem of a row. Raises ValueError, which says what is wrong with it."""
    question = _text(said['question'], 'question')
    choices = _choices(said['choices'])
    text = '\n'.join([question, *(f'({letter}) {choice}' for letter, choice in choices.items())])
    gold = self._gold(said, choices)
    solutions = ()
    if said['solution'] is not None:
      solutions = (self._solution(_text(said['solution'], 'solution'), gold),)
    name = said['id'] if said['id'] not in (None, '') else problem_id
    level = '' if said['level'] is None else str(said['level'])
    return Problem(str(name), text, gold, solutions, level)

  def _gold(self, said: Mapping[str, Any], choices: Mapping[str, str]) -> str:
    """The answer in its one spelling. Raises ValueError where it is not of the form."""
    answer = said['answer']
    if isinstance(answer, float) and math.isfinite(answer) and answer == int(answer):
      answer = int(answer)
    if self._own.answer == 'choice':
      return _letter(answer, choices)
    text = str(answer) if isinstance(answer, int | float) and not isinstance(answer, bool) else _text(answer, 'answer')
    if self._own.answer == 'number':
      number = answers.normal_number(text) or extract.extract('number', text).strict
      if number is None:
        raise ValueError(f'its answer {text[:40]!r} is no number')
      return number
    return extract.boxed(text) or text if self._own.answer == 'mathematical' else text

  def _solution(self, text: str, gold: str) -> str:
    """A solution that begins with a space, and ends in its answer where that cannot be read from it."""
    found = extract.extract(self._form.grader, text).strict
    if found is None or not grade.same(self._form.grader, gold, found):
      text += self._form.end.format(gold)
    return f' {text}'

  def _show(self, train: Sequence[Problem]) -> list[Problem]:
    """The worked examples: of those with a solution the ones of the smallest hashes."""
    solved = sorted((p for p in train if p.solutions), key=lambda p: splits.digest(f'shown {p.text}'))
    if len(solved) < self._own.shots:
      raise TaskError(
        f'config.task.shots={self._own.shots}: {len(solved)} problems to train on have a solution, which a worked '
        'example needs; name their field in config.task.fields.solution'
      )
    return solved[: self._own.shots]


class Opinionated(Jsonl):
  """The same for answers that math-verify reads too: numbers and mathematical expressions."""

  second_opinion = True


class Programs(Jsonl):
  """The same for programs: the tests of a row are its answer, and run in the sandbox. Prompts are like MBPP's."""

  template = (
    'Write Python code for this task: {question}\nIt must pass these tests:\n\n{tests}\n' + f'{completions.BEGIN}\n'
  )
  stop_strings = zero_shot_stop_strings = (completions.DONE,)
  shown_end = f'\n{completions.DONE}\n\n'
  needed = frozenset({'question', 'tests'})
  same = None  # Programs are not compared.

  def verdict(self, problem: Problem, sample: Sample) -> Verdict:
    """Right where the code passes the tests."""
    (verdict,) = self.verdicts([(problem, sample)])
    return verdict

  def verdicts(self, pairs: Iterable[tuple[Problem, Sample]], workers: int = 1) -> Iterator[Verdict]:
    """The verdict of each pair, in order (`programs.verdicts`)."""
    return programs.verdicts(pairs, lambda problem, text: completions.read('mbpp', problem.gold, text), workers)

  def _gold(self, said: Mapping[str, Any], choices: Mapping[str, str]) -> str:
    tests = said['tests']
    return '\n'.join(_text(t, 'tests') for t in (tests if isinstance(tests, list) and tests else [tests]))

  def _solution(self, text: str, gold: str) -> str:
    return text


def _split(parts: Mapping[str, list[Problem]]) -> dict[str, list[Problem]]:
  """The problems of each split: of its file, or by a hash of the text, so that one text is in one split."""

  def share(p: Problem) -> int:
    return int(splits.digest(p.text)[:8], 16) % _SHARE

  if ALL in parts:
    rest = parts[ALL]
    parts = {'train': [p for p in rest if share(p)], 'test': [p for p in rest if not share(p)]}
  if 'train' in parts and 'validation' not in parts:
    train = parts['train']
    held = [p for p in train if share(p) == 1]
    parts = {**parts, 'train': [p for p in train if share(p) != 1], 'validation': held}
  return dict(parts)


def _text(value: Any, role: str) -> str:
  if not isinstance(value, str) or not value.strip():
    raise ValueError(f'its {role} is missing or not a text')
  return value.strip()


def _choices(value: Any) -> dict[str, str]:
  """Letter -> choice."""
  if value is None:
    return {}
  if not isinstance(value, list) or not 1 < len(value) <= len(_LETTERS):
    raise ValueError(f'its choices are no list of 2 to {len(_LETTERS)} texts')
  return dict(zip(_LETTERS, (_text(str(c), 'choice') for c in value), strict=False))


def _letter(answer: Any, choices: Mapping[str, str]) -> str:
  """The letter of a right answer that is given as a letter, as a number from 0, or as the text of a choice."""
  if isinstance(answer, int) and not isinstance(answer, bool) and 0 <= answer < len(choices):
    return _LETTERS[answer]
  text = str(answer).strip()
  named = [letter for letter, choice in choices.items() if choice == text]
  if len(named) == 1:
    return named[0]
  if text in (list(choices) or list(_LETTERS)):
    return text
  raise ValueError(f'its answer {text[:40]!r} is none of its choices, by letter, by number from 0 or by text')
