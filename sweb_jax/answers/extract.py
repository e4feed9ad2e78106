"""The final answer in the text of a completion.

A completion ends at the task's stop string, but a base model may run on into a next question that the stop string does
not catch: what counts is the answer of the first solution. Every search is linear in the text.
"""

from __future__ import annotations

import dataclasses
import re

from sweb_jax.answers import markup, vocabulary
from sweb_jax.answers.equal import MAX_LENGTH, NUMBER, complete_number, leading_number, spell
from sweb_jax.answers.latex import MAX_CHARS
from sweb_jax.answers.markup import ANSWER_IS
from sweb_jax.answers.math_equal import equal

_MARKER = re.compile(r'(?<!#)####(?!#)[ \t]*+')
_NUMBER = re.compile(NUMBER)
_INTEGER = re.compile('-?[0-9]+')
_MAX_BETWEEN = 40
"""Characters between two boxes of one list."""

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
# The answer stands behind words in its sentence, behind 'A:', or below a heading.
_SAID = re.compile(
  rf'{ANSWER_IS.pattern}|(?:^|\n)[ \t]*A:[ \t\n]*+'
  r'|(?:^|\n)[ \t]*(?P<heading>(?:[#]{1,6}[ \t]*)?[*_]*(?:the[ ])?(?:final[ ])?answer[*_:]*)[ \t]*\n'
  r'(?:[-=]{2,}[ \t]*\n)?\s*+',
  re.IGNORECASE,
)
_MATH = re.compile(
  r'(?<!\\)\$\$?((?:\\.|[^$\\]){1,999})\$\$?|\\\((.{1,999}?)\\\)|\\\[(.{1,999}?)\\\]', re.DOTALL
)
# 'and', 'or' or a comma, with the formula or number that they join to one before.
_JOINED = re.compile(
  r'(?:[ ]+[a-z]+){0,2}[ ]*(?:,(?:[ ]*(?:and|or)\b)?|;|\b(?:and|or)\b)[ ]*(?:[a-z]+[ ]+){0,2}(?:\$|\\[(\[]|[-−]?\d)',
  re.IGNORECASE,
)
_BETWEEN_BOXES = re.compile(
  r'[$\s]*(?:\\[)\]])?[$\s]*(?:;|,|,?\s*(?:\\text\{)?\s*\b(?:and|or)\b\s*\}?)[$\s]*(?:\\[(\[])?\s*(?:[a-zA-Z](?:_\w)?\s*=\s*)?'
)
# A letter that stands alone: 'B', '(B)', 'B.', 'B) 12 apples', '\\text{(B)}'.
_LETTER = re.compile(r'(?:\\(?:text|mathrm|textbf|mathbf)[ ]?\{)?[(\[]?([A-Z])(?:[)\].:,;}]|\s*$)')
_REASON = re.compile(r',?\s(?:since|because|as|so|which|where)\s')
_SENTENCE_END = re.compile(r'\n|\.(?=\s|$|\*)|(?<=\s)I hope', re.MULTILINE)


@dataclasses.dataclass(frozen=True)
class Extracted:
  """The final answer as two readers find it; None where there is none."""

  strict: str | None
  """In the form that the task asks for."""
  lenient: str | None
  """Where the strict reader finds nothing: in another form that people use, at last the last number."""


def extract(task: str, text: str) -> Extracted:
  """The final answer of a completion that ends before its stop string. Raises ValueError for an unknown task.

  'math', 'functional_math': strictly the last complete `\\boxed{}` or `\\fbox{}` of the first solution (boxes joined by
  commas or 'and' are one list), else what follows its 'The final answer is' or a heading 'Answer'; leniently also its
  last formula or number. 'gsm8k', 'svamp': strictly `answer_line`; leniently also a box, 'The answer is N', 'A: N' or
  the last number. 'number': strictly also a number that is alone in a box or in what is said. 'choice', 'text': a
  letter that stands alone, or a text, after '####', in a box or behind 'The answer is'. 'arithmetic': `marked_integer`.
  An unfinished box, a number that goes on and an answer longer than the graders read are none.
  """
  if task in ('math', 'functional_math'):
    solution = _first_solution(text)
    strict = boxed(solution)
    if strict is None:
      strict = _said(solution)
    return Extracted(strict, strict if strict is not None else _last_formula(solution))
  if task in ('gsm8k', 'svamp', 'number'):
    strict = answer_line(text[:MAX_TEXT])
    if strict is not None:
      return Extracted(strict, strict)
    solution = _first_solution(text)
    told = boxed(solution) or _said(solution) if task == 'number' else None
    strict = complete_number(told) if told else None
    return Extracted(strict, strict if strict is not None else _lenient_number(solution))
  if task in ('choice', 'text'):
    told = _told(text[:MAX_TEXT])
    letter = told and _LETTER.match(told)
    return Extracted(*2 * ((letter[1] if letter else None) if task == 'choice' else told,))
  if task == 'arithmetic':
    return Extracted(*2 * (marked_integer(text),))
  raise ValueError(
    f"answers of task={task!r} cannot be extracted; use 'math', 'functional_math', 'gsm8k', 'svamp', 'number', "
    "'choice' or 'text'"
  )


def boxed(text: str) -> str | None:
  """What stands in the last complete, not empty box of `text`, with the boxes that a comma or 'and' joins to it.

  `\\boxed 5` holds the one character 5.
  """
  first = _BOX.search(text)
  if first is None:
    return None
  found: list[tuple[int, int, str]] = []  # Where a box begins and ends, and what it holds.
  opened: list[tuple[int, int] | None] = []  # Of every open brace: where its box and what it holds begin, or None.
  for match in _BRACE.finditer(text, first.start()):
    brace = match[0]
    if brace == '}':
      start = opened.pop() if opened else None
      inner = text[start[1] : match.start()].strip() if start and match.start() - start[1] <= MAX_CHARS else ''
      if inner:
        found.append((start[0], match.end(), inner))
    elif brace[-1] == '{' and brace != r'\{':
      opened.append((match.start(), match.end()) if len(brace) > 1 and not match['bare'] else None)
    elif match['bare']:
      found.append((match.start(), match.end(), match['bare']))
  if not found:
    return None
  begin, _, last = found[-1]
  parts = [last]
  for start, end, inner in reversed(found[:-1]):
    if end > begin:  # Inside the one that follows.
      continue
    if begin - end > _MAX_BETWEEN or not _BETWEEN_BOXES.fullmatch(text, end, begin):
      break
    begin = start
    if not any(equal(inner, part) for part in parts):  # '\\boxed{2-b}, or \\boxed{-b+2}' is one value.
      parts.append(inner)
  joined = ', '.join(reversed(parts))
  return last if len(joined) > MAX_CHARS else joined


def answer_line(text: str) -> str | None:
  """The number after the first `####` of a completion, in one spelling ('$1,080.00.' -> '1080'), or None.

  The first marker alone counts: a base model runs on into a next question, whose answer is not this one's. Strict:
  where no complete number of at most `MAX_LENGTH` characters follows the marker on its line, there is no answer.
  """
  marker = _MARKER.search(text)
  found = leading_number(text[marker.end() :].partition('\n')[0]) if marker else None
  return found[0] if found else None


def marked_integer(text: str) -> str | None:
  """The integer that follows the first '####' that stands as a word, as written; None where there is none."""
  words = iter(text.split())
  if '####' not in words:  # Consumes up to the mark.
    return None
  answer = next(words, '')
  return answer if _INTEGER.fullmatch(answer) else None


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
  """What follows the last 'the final answer is' of a solution, or its heading 'Answer': a formula, or what it says."""
  at = _first_said(text)
  matches = list(_SAID.finditer(text, max(at - 20, 0))) if at >= 0 else []
  if not matches:
    return None
  said = matches[-1]
  rest = text[said.end() : said.end() + MAX_CHARS].lstrip('*_ ')
  formula = _MATH.match(rest)
  tail = _sentence(rest[formula.end() :]) if formula else _sentence(rest)
  if formula:
    if not _JOINED.match(tail):
      return _formula(formula) and _formula(formula) + _measure(tail)
    return (formula[0] + tail).strip(' \t*')
  if said['heading'] and not (_MATH.search(tail) or re.match(r'[*_`$-]*\d', tail)):
    return None  # An explanation begins there.
  if said['heading'] or said[0].rstrip(' \t\n*').endswith(':'):
    tail = tail.rpartition(' is ')[2]  # 'Answer: The volume of $ABCD$ is 120'.
  formulas = list(_MATH.finditer(tail))
  if formulas and not any(_JOINED.match(tail, f.end()) for f in formulas[:-1]):
    return _formula(formulas[-1])
  return tail.strip(' \t\n*`_') or None


def _sentence(text: str) -> str:
  """The text to the end of its sentence, and no further than 'since', 'because' or 'where' ('40 cards, since ...')."""
  end = _SENTENCE_END.search(text)
  text = text[: end.start()] if end else text
  reason = _REASON.search(text)
  return text[: reason.start()] if reason else text


def _measure(tail: str) -> str:
  """The unit, or the word that multiplies, after a formula: ' \\text{ dozen}' of ' dozen in all'; '' without one."""
  words = re.match(r'[ ~]*((?:[A-Za-z]+[ ]*){1,4})', tail)
  names = words[1].split() if words else []
  if not names or not (
    names[0] in ('square', 'cubic') or vocabulary.multiplier(names[0].lower()) or vocabulary.unit(names[0].lower())
  ):
    return ''
  return rf'\text{{ {" ".join(names)}}}'


def _formula(match: re.Match[str]) -> str | None:
  found = next(group for group in match.groups() if group is not None).strip()
  return found or None


def _last_formula(text: str) -> str | None:
  tail = text[-4 * MAX_CHARS :]
  formulas = [f for match in _MATH.finditer(tail) if (f := _formula(match))]
  return formulas[-1] if formulas else _last_number(tail)


def _told(text: str) -> str | None:
  """What stands, out of its markup, on the line of the first '####', in the last box, or behind 'The answer is'."""
  marker = _MARKER.search(text)
  solution = _first_solution(text)
  told = text[marker.end() :].partition('\n')[0] if marker else boxed(solution) or _said(solution)
  bare = markup.bare(told[:MAX_CHARS]).removesuffix('.').strip() if told else ''
  return bare or None


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
