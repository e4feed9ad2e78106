"""MBPP: short Python tasks with three asserts each (Austin et al. 2021, arXiv 2108.07732).

The file is read as published: `mbpp.jsonl`, 974 rows with fields `task_id`, `text`, `code`, `test_list` and
`test_setup_code`. Its asserts are shown to the model: they say how the function is to be called.
"""

from __future__ import annotations

import builtins
import re
from collections.abc import Iterable, Iterator, Sequence

from absl import logging
from etils import epath

from sweb_jax.answers import completions
from sweb_jax.records import Problem, Sample, Verdict
from sweb_jax.tasks import SPLITS, TaskError, programs

TASK_IDS = {'test': range(11, 511), 'validation': range(511, 601), 'train': range(601, 975)}
"""Splits by task_id (paper, section 2.1); 1-10 are for prompts."""

FEW_SHOT_IDS = (2, 3, 4)
"""Task ids of the worked examples (the data set's own notes)."""

SOURCE = (
  'point --config.data_dir at the folder of the public file '
  '(github.com/google-research/google-research, mbpp/mbpp.jsonl, plain or .gz)'
)

_FIELDS = {'task_id': int, 'text': str, 'code': str, 'test_list': list}
_PARTS = ('prompt', 'test', 'validation', 'train')
_BEGIN, _DONE = completions.BEGIN, completions.DONE
_DEFINED = re.compile(r'^def (\w+)', re.MULTILINE)


class Mbpp:
  """The Task of MBPP.

  A prompt ends in '[BEGIN]' and a line end; a solution is the code alone, and '[DONE]' ends it in worked examples.

    prompt    'Write Python code for this task: ...\\nIt must pass these tests:\\n\\nassert ...\\n[BEGIN]\\n'
    solution  'def f(x):\\n  return x'

  `Problem.gold` is the test code: the set-up, where a task has one, and the asserts.
  """

  stop_strings = (_DONE,)
  zero_shot_stop_strings = stop_strings  # A prompt ends in '[BEGIN]' without examples too.
  second_opinion = False
  same = None  # Programs are not compared.

  def __init__(self, data_dir: epath.PathLike):
    """Reads the file of `data_dir`. Raises TaskError, which names the file, the line and the field at fault."""
    self._problems: dict[int, Problem] = {}
    for where, row in programs.rows(data_dir, 'mbpp', 'mbpp', _PARTS, _FIELDS, SOURCE):
      self._problems[row['task_id']] = _problem(row, where)
    if missing := [i for i in FEW_SHOT_IDS if i not in self._problems]:
      raise TaskError(f'{data_dir}: mbpp.jsonl has no task_id {missing}, of the few-shot examples; {SOURCE}')
    trained = {' '.join(self._problems[i].text.split()): i for i in TASK_IDS['train'] if i in self._problems}
    for i in TASK_IDS['test']:
      if i in self._problems and (twin := trained.get(' '.join(self._problems[i].text.split()))) is not None:
        logging.warning('mbpp: task %d has the same text as %d of train; results on it are contaminated', i, twin)

  def problems(self, split: str, count: int, seed: int, levels: Sequence[str] = ()) -> list[Problem]:
    """The first `count` problems of `split` in an order drawn by `seed`; a smaller count is a prefix of a larger.

    Raises TaskError for an unknown split, any level, or more problems than there are.
    """
    if split not in SPLITS:
      raise TaskError(f'split={split!r} is not one of {", ".join(SPLITS)}')
    found = [self._problems[i] for i in TASK_IDS[split] if i in self._problems]
    return programs.chosen(found, f'{split} problems of mbpp', count, seed, levels)

  def prompt(self, problem: Problem) -> str:
    """The zero-shot prompt; the code follows it directly."""
    asserts = '\n'.join(line for line in problem.gold.split('\n') if line.startswith('assert'))
    return f'Write Python code for this task: {problem.text}\nIt must pass these tests:\n\n{asserts}\n{_BEGIN}\n'

  def few_shot(self) -> str:
    """Three worked examples, each with a blank line after it; the prompt of the problem follows directly."""
    shots = (self._problems[i] for i in FEW_SHOT_IDS)
    return ''.join(f'{self.prompt(p)}{p.solutions[0]}\n{_DONE}\n\n' for p in shots)

  def verdict(self, problem: Problem, sample: Sample) -> Verdict:
    """Right where the code passes every assert in the sandbox."""
    (verdict,) = self.verdicts([(problem, sample)])
    return verdict

  def verdicts(self, pairs: Iterable[tuple[Problem, Sample]], workers: int = 1) -> Iterator[Verdict]:
    """The verdict of each pair, in order; many are faster than one by one (`programs.verdicts`)."""
    return programs.verdicts(pairs, lambda problem, text: completions.read('mbpp', problem.gold, text), workers)


def _problem(row: dict, where: str) -> Problem:
  setup = row.get('test_setup_code', '')
  if not all(isinstance(t, str) and t.startswith('assert') for t in row['test_list']):
    raise TaskError(f"{where}: the field 'test_list' must hold texts that begin with 'assert'; {SOURCE}")
  if not isinstance(setup, str):
    raise TaskError(f"{where}: the field 'test_setup_code' is not a text; {SOURCE}")
  # A task may ask for a function of a builtin's name (126: `sum`); elsewhere a builtin in a test is Python's.
  asked = [name for name in _DEFINED.findall(row['code']) if hasattr(builtins, name)]
  imports = [f'from solution import {name}' for name in asked]
  tests = '\n'.join([*imports, *([setup] if setup.strip() else []), *row['test_list']])
  return Problem(
    id=f'mbpp/{row["task_id"]}',
    text=row['text'].strip(),
    gold=_lines(tests),
    solutions=(_lines(row['code']),),
  )


def _lines(code: str) -> str:
  """The code with '\\n' as its only line end, and no blanks at the end of a line."""
  return '\n'.join(line.rstrip() for line in code.replace('\r\n', '\n').split('\n')).strip('\n')
