"""What a judge model reads, and what is read from its answer.

A judge reads a problem and a solution, with or without a solution that is known to be right, checks the steps, and ends
with the line 'Verdict: right' or 'Verdict: wrong'. Any other ending is no opinion. Its words are compared, never run.
"""

from __future__ import annotations

import dataclasses
import re

STOP_STRINGS = ('\n\n', '\nProblem:')
"""What ends the answer of a base model, which else goes on with a problem of its own."""


class JudgeError(ValueError):
  """There is nothing to ask a judge; the message names the task."""


@dataclasses.dataclass(frozen=True)
class Opinion:
  """What a judge says of one sample."""

  problem_id: str
  index: int
  right: bool | None
  """None: its answer did not end in a verdict."""
  tokens: int
  """Drawn by the judge."""
  read: int
  """Of its prompt, worked examples aside."""


@dataclasses.dataclass(frozen=True)
class _Shot:
  """A worked example."""

  problem: str
  reference: str
  solution: str
  check: str
  right: bool


_RULE = (
  'Each solution below is checked step by step. It is right only if every step follows from the problem and is '
  'calculated correctly; a right final answer that rests on a wrong step is wrong. The last line of a check is '
  "'Verdict: right' or 'Verdict: wrong'."
)
_CODE_RULE = (
  'Each program below is checked line by line. It is right only if it does what is asked for every input; a program '
  'that only returns the results of some examples is wrong. The last line of a check is '
  "'Verdict: right' or 'Verdict: wrong'."
)
_WORDS = (
  _Shot(
    'A baker fills 4 trays with 6 rolls each and sells 9 rolls. How many rolls are left?',
    '4*6=24 rolls are baked.\n24-9=15 rolls are left.\n#### 15',
    'The baker makes 4*6=24 rolls.\nAfter selling 9, 24-9=15 are left.\n#### 15',
    '4 trays of 6 are 24, which is right. 24-9 is 15, which is right.',
    True,
  ),
  _Shot(
    'Nora reads 12 pages on Monday and half as many on Tuesday. How many pages does she read in the two days?',
    'On Tuesday she reads 12/2=6 pages.\nTogether she reads 12+6=18 pages.\n#### 18',
    'On Tuesday she reads 12+6=18 pages.\nThat is the total.\n#### 18',
    'On Tuesday she reads half of 12, which is 6, not 18. The first step is wrong, the final number is the same.',
    False,
  ),
  _Shot(
    'A rope of 20 meters is cut into 5 equal parts, and 2 parts are used. How many meters are used?',
    'A part has 20/5=4 meters.\nUsed are 2*4=8 meters.\n#### 8',
    'Each part is 20/5=4 meters.\nSo 2 parts are 2*4=6 meters.\n#### 6',
    '20/5 is 4, which is right. 2*4 is 8, not 6.',
    False,
  ),
  _Shot(
    'Tom has 3 times as many stamps as Ida, who has 14. How many stamps do they have together?',
    'Tom has 3*14=42 stamps.\nTogether they have 42+14=56 stamps.\n#### 56',
    'Tom has 3*14=42 stamps.\nWith those of Ida, that makes 42+14=56 stamps.\n#### 56',
    '3*14 is 42, which is right. 42+14 is 56, which is right, and the sum is what is asked.',
    True,
  ),
)
_FORMULAS = (
  _Shot(
    'If $2x + 6 = 14$, what is $x^2$?',
    'We have $2x = 8$, so $x = 4$ and $x^2 = \\boxed{16}$.',
    'Subtracting 6 gives $2x = 8$. Then $x = 4$, so $x^2 = 16$. The answer is $\\boxed{16}$.',
    '14-6 is 8, and half of it is 4. The square of 4 is 16. All steps hold.',
    True,
  ),
  _Shot(
    'What is the sum of the positive divisors of 6?',
    'The divisors are 1, 2, 3 and 6, and $1+2+3+6 = \\boxed{12}$.',
    'The positive divisors of 6 are 2, 4 and 6. Their sum is $2+4+6 = \\boxed{12}$.',
    '4 does not divide 6, and 1 and 3 are missing. The list is wrong, though the sum is the same.',
    False,
  ),
  _Shot(
    'What is the area of a right triangle with legs 3 and 8?',
    'It is $\\frac12 \\cdot 3 \\cdot 8 = \\boxed{12}$.',
    'The area is the product of the legs, $3 \\cdot 8 = \\boxed{24}$.',
    'The area is half of the product of the legs. The half is missing.',
    False,
  ),
  _Shot(
    'What is the remainder when $7^2$ is divided by 5?',
    '$49 = 9 \\cdot 5 + 4$, so the remainder is $\\boxed{4}$.',
    'Since $7 \\equiv 2$, we have $7^2 \\equiv 4 \\pmod 5$. The remainder is $\\boxed{4}$.',
    '7 leaves 2, and the square of 2 is 4. All steps hold.',
    True,
  ),
)
_PROGRAMS = (
  _Shot(
    'Write a function that returns the largest number of a list.',
    'def largest(numbers):\n    return max(numbers)',
    'def largest(numbers):\n    best = numbers[0]\n    for n in numbers:\n        if n > best:\n            best = n\n'
    '    return best',
    'It starts with the first number and takes every larger one. That gives the largest.',
    True,
  ),
  _Shot(
    'Write a function that says whether a number is even.',
    'def is_even(n):\n    return n % 2 == 0',
    'def is_even(n):\n    return n in (2, 4, 6)',
    'It knows three numbers only, and says that 8 is not even.',
    False,
  ),
)
_KINDS = {
  'arithmetic': _WORDS,
  'gsm8k': _WORDS,
  'svamp': _WORDS,
  'math': _FORMULAS,
  'functional_math': _FORMULAS,
  'mbpp': _PROGRAMS,
  'humaneval': _PROGRAMS,
  'number': _WORDS,
  'choice': _WORDS,
  'text': _WORDS,
  'mathematical': _FORMULAS,
  'program': _PROGRAMS,
}
"""Task, or form of the answers to one's own problems."""
_VERDICT = re.compile(r'Verdict: (right|wrong)\.?')
_BLANK_LINES = re.compile(r'\n\s*\n')


def worked_examples(task: str, *, gold: bool) -> str:
  """The rule and the worked examples of a task, to put before every prompt; with right solutions where `gold`.

  Raises JudgeError for a task that has none.
  """
  if task not in _KINDS:
    raise JudgeError(f'config.judge.model: judges have no worked examples for {task}, only for {", ".join(_KINDS)}')
  shots = _KINDS[task]
  told = (
    f'{prompt(s.problem, s.solution, s.reference if gold else None)} {s.check}\n'
    f'Verdict: {"right" if s.right else "wrong"}\n\n'
    for s in shots
  )
  return f'{_CODE_RULE if shots is _PROGRAMS else _RULE}\n\n{"".join(told)}'


def prompt(problem: str, solution: str, gold: str | None) -> str:
  """What the judge reads of one sample; its answer, which begins with a space, follows directly.

  Args:
    problem: the text of the problem.
    solution: what is judged.
    gold: a solution that is known to be right; None: the judge has to do without.
  """
  # A blank line ends an example, so none may stand in one.
  parts = [('Problem', problem), *([('A right solution', gold)] if gold is not None else []), ('Solution', solution)]
  return ''.join(f'{name}: {_BLANK_LINES.sub(chr(10), text.strip())}\n' for name, text in parts) + 'Check:'


def read(text: str) -> bool | None:
  """Whether the judge says right, by the last line of its answer; None where that line is no verdict.

    read(' 4*6 is 24.\\nVerdict: right') -> True
  """
  lines = text.strip().splitlines()
  found = _VERDICT.fullmatch(lines[-1].strip()) if lines else None
  return found[1] == 'right' if found else None
