"""The equations that a solution writes down, in one form: two solutions with the same ones take the same steps."""

from __future__ import annotations

import itertools
import re

_ANNOTATION = re.compile(r'<<[^<>]*>>')
_WRITTEN = (
  *((written, '*') for written in (r'\times', r'\cdot', '×', '·', '∙')),
  *((written, '/') for written in (r'\div', '÷')),
  *((written, '-') for written in ('−', '–')),
)
"""How signs are written -> the sign."""
_TOKEN = re.compile(r'(\d+(?:,\d{3})*(?:\.\d+)?|\.\d+)|([^\W\d_]+)|[^\s$%\\]|\\[^$%]')
_NO_TERM = re.compile(r'.*([^\w\s$%\\()+\-*/.,]|_|[.,](?!\d))', re.DOTALL)
_SIGNS = ('+', '-', '*', '/')
_NUMBER, _WORD = 'number', 'word'


def equations(text: str) -> tuple[str, ...]:
  """The equations `a op b = c` of a solution, in the order they are written.

  Left of the sign stand two or more numbers with signs (+ - * /) between them, perhaps in brackets, each with at most
  one word as its unit; right of it one number, which may begin the next equation. White space, units, currency and per
  cent signs, thousands separators and zeros that end a decimal are left out. Brackets and the order of terms stay.
  Calculator annotations (<<3*4=12>>) say nothing new and are skipped. Takes time linear in the text.
  """
  plain = _ANNOTATION.sub('', text)
  for written, sign in _WRITTEN:
    plain = plain.replace(written, sign)
  found = []
  for left, right in itertools.pairwise(plain.split('=')):
    value = _value(right)  # Most sides have none, and need no further look.
    if value and (terms := _terms(_tokens(_end(left)))):
      found.append(f'{terms}={value}')
  return tuple(found)


def _end(side: str) -> str:
  """The end of a side, from the last character that no term and no sign has: all that `_terms` can make use of."""
  found = _NO_TERM.match(side)
  return side[found.start(1) :] if found else side


def _tokens(side: str) -> list[tuple[str, str]]:
  """(kind, text) of each number, word and other character; an x between terms is a sign."""
  found = []
  for m in _TOKEN.finditer(side):
    token = (_NUMBER, _plain(m[1])) if m[1] else (_WORD, m[2]) if m[2] else (m[0], m[0])
    between = len(found) > 1 and found[-1][1] in ('x', 'X') and found[-2][0] in (_NUMBER, _WORD, ')')
    if between and token[0] in (_NUMBER, '('):
      found[-1] = '*', '*'
    found.append(token)
  return found


def _terms(tokens: list[tuple[str, str]]) -> str:
  """What ends the left side, read from its end: two or more numbers and the signs between; '' where there are not."""
  kinds = [kind for kind, _ in tokens]
  start, count, end = len(tokens), 0, len(tokens)
  while True:
    at = end
    words = 0
    while at and (kinds[at - 1] == ')' or (kinds[at - 1] == _WORD and not words)):
      words += kinds[at - 1] == _WORD
      at -= 1
    if not at or kinds[at - 1] != _NUMBER:
      break
    at -= 1
    while at and kinds[at - 1] == '(':
      at -= 1
    if at and kinds[at - 1] == '-' and (at == 1 or kinds[at - 2] in (*_SIGNS, '(')):
      at -= 1  # Not a sign between two terms, but of this one.
      while at and kinds[at - 1] == '(':
        at -= 1
    start, count = at, count + 1
    if not at or kinds[at - 1] not in _SIGNS:
      break
    end = at - 1
  return ''.join(text for kind, text in tokens[start:] if kind != _WORD) if count > 1 else ''


def _value(side: str) -> str:
  """The number that begins the right side; '' where none does."""
  first, second = (*(m for m in itertools.islice(_TOKEN.finditer(side), 2)), None, None)[:2]
  minus = '-' if first and first[0] == '-' else ''
  number = second if minus else first
  return minus + _plain(number[1]) if number and number[1] else ''


def _plain(number: str) -> str:
  """'1,200.50' as '1200.5'."""
  whole, _, decimals = number.replace(',', '').partition('.')
  decimals = decimals.rstrip('0')
  return f'{whole or "0"}.{decimals}' if decimals else whole or '0'
