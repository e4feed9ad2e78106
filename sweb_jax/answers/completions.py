"""From the completion of a task of programs (`mbpp`, `humaneval`) to the code in it, a whole program and its tests.

Code is found by its Markdown fences; nothing here runs or parses it (`sandbox` runs it).
"""

from __future__ import annotations

import contextlib
import dataclasses
import itertools
import re
import textwrap
from collections.abc import Iterable, Iterator, Sequence
from typing import TypeVar

from sweb_jax.answers import sandbox

TASKS = ('mbpp', 'humaneval')
"""Tasks whose answers are programs."""

BEGIN, DONE = '[BEGIN]', '[DONE]'
"""What stands before and after the code in the prompts of MBPP (Austin et al. 2021, arXiv 2108.07732)."""

FUNCTION_ENDS = ('\ndef ', '\nclass ', '\nif ', '\nprint(', '\n#', '\n@', '\n```')
"""What ends a function of HumanEval at its outer level (after Chen et al. 2021, arXiv 2107.03374, section 2.1)."""

T = TypeVar('T')

# A fence is alone on its line, or at the end of a line: of code that it closes, of words before code that it opens.
# What it opens may follow on the same line.
_FENCE = re.compile(r'^(?P<indent>[ \t]*)(?:```+|~~~+)|(?:```+|~~~+)', re.MULTILINE)
_LANGUAGE = re.compile(r'(?P<language>[\w+.#-]*)[ \t]*(?:\{[^}\n]*\})?[ \t]*\r?(?:\n|\Z)')
_PYTHON = frozenset(('python', 'py', 'python3', 'py3', 'python2'))
_DEFINES = re.compile(
  r'^[ \t]*(?:(?:async +)?def|class|import|from|@|[A-Za-z_][\w, ]*(?::[^=\n]+)?=(?!=))', re.MULTILINE
)
_INDENTED = re.compile(r'\n*[ \t]+[^\s`]')
_CHECK = re.compile(r'^check\((\w+)\)\s*\Z', re.MULTILINE)


@dataclasses.dataclass(frozen=True)
class Program:
  """What a completion comes to, and how it is tried."""

  code: str
  """The code that the model wrote."""
  program: str
  """A whole program with it."""
  tests: str


def read(task: str, gold: str, text: str, problem: str = '') -> Program:
  """The program of a completion of `task`, one of `TASKS`.

  Args:
    task: 'mbpp' or 'humaneval'.
    gold: the test code; for humaneval with 'check(NAME)' as its last line.
    text: the completion.
    problem: for humaneval the head of the function, which a completion may continue.

  Raises ValueError where gold or problem are of another form.
  """
  if not text.strip():
    return Program('', '', gold)
  if task == 'mbpp':
    code = unfenced(before(text, (DONE,)).split(BEGIN, 1)[-1]).strip('\n')
    return Program(code, code, gold)
  checked = _CHECK.search(gold)
  if not checked:
    raise ValueError("the gold answer of a humaneval problem is its test code with 'check(NAME)' as the last line")
  name = checked[1]
  # A completion that begins indented is the body; a fence in it comes after.
  text = text if _INDENTED.match(text) else unfenced(text)
  whole = re.search(rf'^def {name}\(', text, re.MULTILINE)
  if not re.search(rf'^def {name}\(', problem, re.MULTILINE):
    raise ValueError(f"the text of a humaneval problem is the head of its function, and has no 'def {name}('")
  if whole:
    return Program(text, f'{before_function(problem, name)}\n{text}', gold)
  code = before(text, FUNCTION_ENDS)
  return Program(code, problem + code, gold)


def before(text: str, stop_strings: Sequence[str]) -> str:
  """`text` up to the first of the stop strings."""
  return text[: min((i for i in (text.find(s) for s in stop_strings) if i >= 0), default=len(text))]


def before_function(prompt: str, name: str) -> str:
  """What stands before the function called `name`: imports and helpers."""
  return prompt[: re.search(rf'^def {re.escape(name)}\(', prompt, re.MULTILINE).start()].strip()


def unfenced(text: str) -> str:
  """The code of a text with Markdown code fences; all of it where there are none.

  Of the blocks that are in Python or in no named language, all that define something, one after the other: helpers
  often stand apart, and calls for show are not part of the answer. Where none does, the first. A fence may be indented,
  may stand at the end of a line, and may lack its partner: a last block goes on to the end, and code that stands before
  a lone fence is closed by it.
  """
  blocks, outside = _blocks(text)
  if not blocks:
    return text
  python = [code for language, code in blocks if language.lower() in _PYTHON or not language]
  found = [code for code in python if _DEFINES.search(code)] or python[:1]
  found = found or [outside if _DEFINES.search(outside) else blocks[0][1]]
  return '\n\n'.join(code.strip('\n') for code in found) if len(found) > 1 else found[0]


def _blocks(text: str) -> tuple[list[tuple[str, str]], str]:
  """(language, code) of each block between fences, in order, and the text outside."""
  fences = list(_FENCE.finditer(text))
  start, language, indent = None, '', ''  # Of the block that is open.
  if len(fences) % 2:
    first = _LANGUAGE.match(text, fences[0].end())
    if first and not first['language'] and _DEFINES.search(text[: fences[0].start()]):
      start = 0  # The text begins with code: what opened it is in the prompt.
  blocks, outside, end = [], [], 0
  for fence in fences:
    line = _LANGUAGE.match(text, fence.end())
    if start is not None:
      if line is None and fence['indent'] is None:
        continue  # Within a line of code, as in a string.
      code = text[start : fence.start()]
      blocks.append((language, textwrap.dedent(code) if indent else code))
      start, end = None, fence.end()
      if line and not line['language']:
        continue
    else:
      outside.append(text[end : fence.start()])
    named = line['language'] if line else ''
    start, language, indent = (line.end() if line else fence.end()), named, fence['indent'] or ''
  if start is None:
    outside.append(text[end:])
  else:
    blocks.append((language, textwrap.dedent(text[start:]) if indent else text[start:]))
  return [(language, code) for language, code in blocks if code.strip()] or blocks[:1], ''.join(outside)


def tried(
  items: Iterable[tuple[T, Program | None]], workers: int
) -> Iterator[tuple[T, Program | None, sandbox.Outcome | None]]:
  """(item, program, outcome of its tests) of each (item, program), in order, `workers` at a time in the sandbox.

  The outcome is None where there is no program or no code in it. Raises sandbox.SandboxError where this machine cannot
  run programs safely.
  """
  first, second = itertools.tee(items)
  outcomes = sandbox.run_all(((p.program, p.tests) for _, p in first if p and p.code.strip()), workers)
  with contextlib.closing(outcomes):
    for item, program in second:
      yield item, program, next(outcomes) if program and program.code.strip() else None


def reason(outcome: sandbox.Outcome) -> str:
  """The reason of a verdict: 'right', or status and reason of the outcome."""
  return 'right' if outcome.status == 'passed' else f'{outcome.status}: {outcome.reason}'
