"""Grades files of completions, and measures the grader against labels.

    python -m sweb_jax.answers --task=math < in.jsonl > out.jsonl
    python -m sweb_jax.answers agreement FILES

The first reads rows {"gold": ..., "text": ...}, or with --equal_only {"gold": ..., "pred": ...}, and writes each with
`answer`, `correct`, `reason`, `lenient`, `lenient_correct`, `second_opinion` and `second_reason` added; rows keep their
order and their other fields. A field "problem" with the text of the problem is of use to functional_math, which reads
there whether pi may be 3.14. For mbpp and humaneval, "gold" is the test code (for humaneval with 'check(NAME)' as its
last line, and "problem" is the head of the function), and programs run in the sandbox. A row that cannot be graded
comes out with a field `error`, and the exit code is 1. Rows stream: memory does not grow with their number. Blank lines
are passed over.
"""

from __future__ import annotations

import collections
import contextlib
import json
import os
import signal
import sys
from collections.abc import Callable, Iterator
from typing import BinaryIO, TypeVar

from absl import app, flags

from sweb_jax.answers import completions
from sweb_jax.answers import grade as grading
from sweb_jax.answers.pool import Pool, PoolError
from sweb_jax.answers.sandbox import SandboxError
from sweb_jax.runtime import terminal

_TASK = flags.DEFINE_enum('task', None, grading.TASKS, 'How answers are written and compared.')
_EQUAL_ONLY = flags.DEFINE_bool('equal_only', False, 'Rows hold the extracted answer in "pred"; no text is read.')
_SECOND = flags.DEFINE_bool('second_opinion', True, "Ask math-verify too; its opinion stands beside the grader's own.")
_WORKERS = flags.DEFINE_integer('workers', 2, 'Processes that run math-verify, or programs.', lower_bound=1)
_DEADLINE = flags.DEFINE_float('deadline', 2.0, 'Seconds for one second opinion; then there is none.', lower_bound=0.01)

T = TypeVar('T')

_MAX_LINE = 1 << 26
"""Bytes of the longest row that is read."""


def main(argv: list[str]) -> None:
  # A kill ends it as Ctrl-C does, so that no worker stays.
  signal.signal(signal.SIGTERM, signal.default_int_handler)
  try:
    if argv[1:2] == ['agreement']:
      show_agreement(argv[2:])
      return
    if len(argv) > 1:
      raise app.UsageError(f'unexpected arguments {argv[1:]}; rows are read from standard input')
    if _TASK.value is None:
      raise app.UsageError(f'--task is needed, one of {", ".join(grading.TASKS)}')
    if _EQUAL_ONLY.value and _TASK.value in completions.TASKS:
      raise app.UsageError(f'--equal_only: programs of {_TASK.value} are not compared; leave it out, and give "text"')
    bad = grade_rows(sys.stdin.buffer, sys.stdout.buffer)
    sys.stdout.flush()
  except KeyboardInterrupt:
    sys.exit(130)
  except BrokenPipeError:  # The reader has seen enough. Python flushes once more at the end, into nothing.
    os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
    sys.exit(1)
  except (PoolError, SandboxError, OSError, ValueError) as e:
    hint = '\n(--nosecond_opinion goes without.)' if isinstance(e, PoolError) else ''
    print(f'Error: {e}{hint}', file=sys.stderr)
    sys.exit(1)
  sys.exit(1 if bad else 0)


def grade_rows(source: BinaryIO, out: BinaryIO) -> int:
  """Grades all rows of `source` into `out`, says on stderr what came out, and returns how many rows were bad."""
  seen: collections.Counter[str] = collections.Counter()
  asks = _SECOND.value and _TASK.value in (*grading.MATH_TASKS, *grading.NUMBER_TASKS)
  graded = _tried(source) if _TASK.value in completions.TASKS else _graded(source)
  with contextlib.ExitStack() as stack:
    pool = stack.enter_context(Pool(_WORKERS.value, _DEADLINE.value)) if asks else None
    for row, found in grading.add_opinions(graded, pool):
      seen['rows'] += 1
      if found is None:
        seen['bad'] += 1
      else:
        row.pop('error', None)  # Of an earlier run over a row that has been mended.
        row |= vars(found)
        seen['right'] += found.correct
        seen[found.second_reason if found.second_opinion is not None else 'none'] += 1
      # As ASCII: completions may hold lone surrogates, which UTF-8 has not.
      out.write(json.dumps(row).encode() + b'\n')
  out.flush()
  said = f'{seen["rows"]} rows, {seen["right"]} right, {seen["bad"]} bad'
  if asks:
    said += f'; math-verify agrees on {seen["agrees"]}, differs on {seen["differs"]}, has no opinion on {seen["none"]}'
  print(said, file=sys.stderr)
  return seen['bad']


def show_agreement(paths: list[str]) -> None:
  """Prints how often the grader agrees with the labels of each file, as a table."""
  from sweb_jax.answers.agreement import agreement

  if not paths:
    raise app.UsageError('agreement: name the files of labelled rows')
  print('| file | n | agreement % | false accepts | false rejects |\n| --- | --- | --- | --- | --- |')
  for path in paths:
    found = agreement(path)
    share = f'{100 * found.agreements / found.n:.2f}' if found.n else 'none'
    print(f'| {os.path.basename(path)} | {found.n} | {share} | {found.false_accepts} | {found.false_rejects} |')


def _graded(source: BinaryIO) -> Iterator[tuple[dict, str, grading.Grade | None]]:
  """Yields (row, gold answer, grade) of each row; (row with its error, '', None) where it cannot be graded."""
  field = 'pred' if _EQUAL_ONLY.value else 'text'
  judge = grading.compare if _EQUAL_ONLY.value else grading.grade
  for row, found in _read(source, field, judge):
    yield row, '' if found is None else row['gold'], found


def _tried(source: BinaryIO) -> Iterator[tuple[dict, str, grading.Grade | None]]:
  """The same of rows whose answers are programs, which run `--workers` at a time."""
  for row, program, outcome in completions.tried(_read(source, 'text', completions.read), _WORKERS.value):
    yield row, '', None if program is None else grading.of_program(program, outcome)


def _read(source: BinaryIO, field: str, read: Callable[[str, str, str, str], T]) -> Iterator[tuple[dict, T | None]]:
  """Yields (row, what `read` makes of task, gold, the field and problem); (row with its error, None) where it fails."""
  for number, line in _lines(source):
    row, found = {}, None
    try:
      row = _object(line)
      for name in ('gold', field):
        if not isinstance(row.get(name), str):
          raise ValueError(f"the field '{name}' is missing or not a text")
      if not isinstance(row.get('problem', ''), str):
        raise ValueError("the field 'problem' is not a text")
      found = read(_TASK.value, row['gold'], row[field], row.get('problem', ''))
    except Exception as e:  # One row stops nothing, whatever is wrong with it or with the grader.
      row = {**row, 'error': f'line {number}: {_message(e)}'}
    yield row, found


def _object(line: bytes) -> dict:
  if len(line) > _MAX_LINE:
    raise ValueError(f'longer than {_MAX_LINE} bytes')
  try:
    row = json.loads(line)
  except (ValueError, RecursionError) as e:
    raise ValueError(f'not JSON: {e}') from e
  if not isinstance(row, dict):
    raise ValueError(f'expected a JSON object, found {type(row).__name__}')
  return row


def _lines(source: BinaryIO) -> Iterator[tuple[int, bytes]]:
  """Yields (line number, line) of each line that is not blank; of an overlong one, a beginning that is too long."""
  number = 0
  while line := source.readline(_MAX_LINE + 1):
    number += 1
    rest = line
    while len(rest) > _MAX_LINE and not rest.endswith(b'\n'):
      rest = source.readline(_MAX_LINE + 1)
    if line.strip():
      yield number, line


def _message(e: Exception) -> str:
  return str(e) if type(e) is ValueError else f'could not be graded: {type(e).__name__}: {e}'


if __name__ == '__main__':
  terminal.start(main)
