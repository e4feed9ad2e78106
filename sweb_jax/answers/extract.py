"""The final answer in the text of a completion.

A completion ends at the task's stop string, but a base model may run on into a next question that the stop string does
not catch: what counts is the answer of the first solution. Every search is linear in the text.
"""

from __future__ import annotations

import dataclasses
import re

from sweb_jax.answers.equal import MAX_LENGTH, NUMBER, spell
from sweb_jax.answers.latex import MAX_CHARS

_MARKER = re.compile(r'(?<!#)####(?!#)[ \t]*+')
_NUMBER = re.compile(NUMBER)
# What may not follow the number: the rest of a word, number or list ('5k', '1e9', '3.2.1', '1,5'), or arithmetic that
# has yet to be done ('3/4', '5 + 3 = 8', '2 x 4', '10:30', '1 1/2'). Words may: '18 dollars', '18. Question: ...'.
_UNFINISHED = re.compile(r'\w|[(\\]|[.,]\d|,[ \t]*+\d|[ \t]*+(?:[-+−–*/^=×÷]|[x:]?[ \t]*+\$?\d)')

MAX_TEXT = 200_000
"""Characters of a completion that are read; what stands after them is not."""

_BOX = re.compile(r'\\(?:boxed|fbox)(?![a-zA-Z])[ \t\n]*+')
_BRACE = re.compile(_BOX.pattern + r'(?P<bare>[0-9A-Za-z])?\{?|\\.|[{}]', re.DOTALL)
# What ends the first solution, where an answer stands before it: a heading of a next question, a chat marker, or the
# sentence that closes a solution in a widely used few-shot prompt, after which models begin to take answers back.
_SOLUTION_END = re.compile(
  r'^[ \t]*(?:[#*>]+[ \t]*)?(?:(?:next|new|another)[ \t]+)?(?:problem|question|exercise|instruction|human|user|q)'
  r'(?:[ \t]*[0-9]+)?[ \t]*(?:\*\*)?[:.]|<\|?(?:im_start|im_end|start_of_turn|end_of_turn|user)'
  r'|I hope (?:it|this) is correct',
  re.IGNORECASE | re.MULTILINE,
)
_SAID = re.compile(
  r'(?:\b(?:final[ ]+)?answer(?:[ ]+to[ ]+[^.:\n]{1,60})?(?:[ ]+is|[ ]*:)(?:[ ]*:)?|(?:^|\n)[ \t]*A:)'
  r'[ \t\n]*+(?:\*\*)?[ \t\n]*+',
  re.IGNORECASE,
)
_MATH = re.compile(r'\$\$?([^$]{1,999})\$\$?|\\\((.{1,999}?)\\\)|\\\[(.{1,999}?)\\\]', re.DOTALL)
_REASON = re.compile(r',?\s(?:since|because|as|so|which|where)\s')
_SENTENCE_END = re.compile(r'\n|\.(?=\s|$)|(?<=\s)I hope', re.MULTILINE)


@dataclasses.dataclass(frozen=True)
class Extracted:
  """The final answer as two readers find it; None where there is none."""

  strict: str | None
  """In the form that the task asks for."""
  lenient: str | None
  """Where the strict reader finds nothing: in another form that people use, at last the last number."""


def extract(task: str, text: str) -> Extracted:
  """The final answer of a completion that ends before its stop string. Raises ValueError for an unknown task.

  'math', 'functional_math': strictly the last complete `\\boxed{}` or `\\fbox{}` of the first solution, else what
  follows its 'The final answer is'; leniently also its last formula or number. 'gsm8k', 'svamp': strictly
  `answer_line`; leniently also a box, 'The answer is N', 'A: N' or the last number.
  An unfinished box, a number that goes on and an answer longer than the graders read are none.
  """
  if task in ('math', 'functional_math'):
    solution = _first_solution(text)
    strict = boxed(solution)
    if strict is None:
      strict = _said(solution)
    return Extracted(strict, strict if strict is not None else _last_formula(solution))
  if task in ('gsm8k', 'svamp'):
    strict = answer_line(text[:MAX_TEXT])
    return Extracted(strict, strict if strict is not None else _lenient_number(_first_solution(text)))
  raise ValueError(f"answers of task={task!r} cannot be extracted; use 'math', 'functional_math', 'gsm8k' or 'svamp'")


def boxed(text: str) -> str | None:
  """What stands in the last complete, not empty box of `text`; `\\boxed 5` holds the one character 5."""
  first = _BOX.search(text)
  if first is None:
    return None
  found, opened = None, []  # Of every open brace: where its box begins, or None.
  for match in _BRACE.finditer(text, first.start()):
    brace = match[0]
    if brace == '}':
      start = opened.pop() if opened else None
      if start is not None and match.start() - start <= MAX_CHARS and (inner := text[start : match.start()].strip()):
        found = inner
    elif brace[-1] == '{' and brace != r'\{':
      opened.append(match.end() if len(brace) > 1 and not match['bare'] else None)
    elif match['bare']:
      found = match['bare']
  return found


def answer_line(text: str) -> str | None:
  """The number after the first `####` of a completion, in one spelling ('$1,080.00.' -> '1080'), or None.

  The first marker alone counts: a base model runs on into a next question, whose answer is not this one's. Strict:
  where no complete number of at most `MAX_LENGTH` characters follows the marker, there is no answer.
  """
  marker = _MARKER.search(text)
  number = _NUMBER.match(text, marker.end()) if marker else None
  if number is None or number.end() - number.start() > MAX_LENGTH or _UNFINISHED.match(text, number.end()):
    return None
  return spell(number)


def _first_solution(text: str) -> str:
  """The text up to the first end of a solution that stands after an answer."""
  text = text[:MAX_TEXT]
  # Plain searches first: most texts hold no 'answer', and the pattern would be tried at every character.
  hints = ((_BOX, text.find('box')), (_MARKER, text.find('####')), (_SAID, _first_said(text)))
  places = [match.end() for pattern, at in hints if at >= 0 and (match := pattern.search(text, max(at - 9, 0)))]
  end = _SOLUTION_END.search(text, min(places)) if places else None
  return text[: end.start()] if end else text


def _first_said(text: str) -> int:
  """Where the word 'answer' or a line 'A:' first stands; -1 where there is none."""
  hints = ('answer', 'Answer', 'ANSWER', 'A:', 'a:')
  found = [at for hint in hints if (at := text.find(hint)) >= 0]
  return min(found, default=-1)


def _said(text: str) -> str | None:
  """What follows the last 'the final answer is' of a solution: the formula there or at the end of the sentence."""
  at = _first_said(text)
  matches = list(_SAID.finditer(text, max(at - 9, 0))) if at >= 0 else []
  if not matches:
    return None
  rest = text[matches[-1].end() : matches[-1].end() + MAX_CHARS]
  if formula := _MATH.match(rest):
    return _formula(formula)
  end = _SENTENCE_END.search(rest)
  value = rest[: end.start()] if end else rest
  if matches[-1][0].rstrip(' \t\n*').endswith(':'):
    value = value.rpartition(' is ')[2]  # 'Answer: The volume of $ABCD$ is 120'.
  elif reason := _REASON.search(value):  # 'The answer is 40 cards, since each card is worth the same'.
    value = value[: reason.start()]
  if formulas := list(_MATH.finditer(value)):
    return _formula(formulas[-1])
  return value.strip(' \t\n*') or None


def _formula(match: re.Match[str]) -> str | None:
  found = next(group for group in match.groups() if group is not None).strip()
  return found or None


def _last_formula(text: str) -> str | None:
  tail = text[-4 * MAX_CHARS :]
  formulas = [f for match in _MATH.finditer(tail) if (f := _formula(match))]
  return formulas[-1] if formulas else _last_number(tail)


def _lenient_number(text: str) -> str | None:
  """The number of a box or after 'the answer is' or 'A:', else the last number of the text."""
  for part in (boxed(text), _said(text)):
    if part is not None and (match := _NUMBER.search(part)) and match.end() - match.start() <= MAX_LENGTH:
      return spell(match)
  return _last_number(text[-4 * MAX_CHARS :])


def _last_number(text: str) -> str | None:
  found = None
  for match in _NUMBER.finditer(text):
    found = match
  return spell(found) if found and found.end() - found.start() <= MAX_LENGTH else None
