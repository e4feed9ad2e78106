"""How the tokens of a number are joined: separators between thousands, and decimals that repeat without end."""

from __future__ import annotations

import re

_GROUP = re.compile(r'[0-9]{3}(?:\.[0-9]+)?')
_BRACKETS = {'(': ')', '[': ']', r'\{': r'\}', 'matrix(': 'matrix)', 'system(': 'system)', '{': '}'}
_CLOSING = frozenset(_BRACKETS.values())
_LONG = 5
"""Digits after which dots may be left off: so many are taken for the number itself."""


def join(found: list[str], thousands: bool) -> list[str]:
  """The tokens without white space, each number in one.

  '{,}', ',\\!' and '\\,' before three digits are always separators of thousands. A comma and a space are with
  `thousands`, where no bracket makes a comma the separator of a pair, an interval, a set or a matrix: '1,234' is one
  number, '(1,234)' is two. Between two numbers that stay apart, nothing is left.
  """
  out: list[str] = []
  inside: list[str] = []
  i = 0
  while i < len(found):
    token = found[i]
    i += 1
    if token in (' ', r'\,'):
      continue
    if not token[0].isdigit():
      if token in _BRACKETS:
        inside.append(token)
      elif token in _CLOSING and inside:
        inside.pop()
    elif token.isdigit() and len(token) <= 3:
      free = thousands and all(bracket == '{' for bracket in inside)
      while i + 1 < len(found):
        j = i + 1
        sure = found[i] in ('{,}', r'\,')
        while sure and j < len(found) and found[j] == ' ':
          j += 1
        group = found[j] if j < len(found) else ''
        if not (sure or (free and found[i] in (',', ' '))) or not _GROUP.fullmatch(group):
          break
        token += group
        i = j + 1
    out.append(',' if token == '{,}' else token)
  return _repeating(out) if any('.' in token for token in out) else out


def _repeating(found: list[str]) -> list[str]:
  """Decimals that repeat, all as '4.' '\\overline' '{' '6' '}': '4.666\\dots', '4.\\dot{6}', '4.(6)'."""
  out: list[str] = []
  for token in found:
    if token == r'\dots' and out and '.' in out[-1] and out[-1][-1].isdigit():
      whole, _, digits = out[-1].partition('.')
      if part := _repetend(digits):
        while digits.endswith(part):
          digits = digits.removesuffix(part)
        out[-1:] = [f'{whole}.{digits}', r'\overline', '{', part, '}']
        continue
      if len(digits.strip('0')) >= _LONG:
        continue
    out.append(token)
  # '0.\\dot{1}4285\\dot{7}': the dots stand on the first and the last digit of what repeats.
  for i, token in enumerate(out):
    rest = ''.join(out[i + 1 : i + 10]) if '.' in token else ''
    if rest and (two := re.match(r'\\overline\{?([0-9])\}?([0-9]*)\\overline\{?([0-9])\}?', rest, re.ASCII)):
      used = next(k for k in range(10, 0, -1) if ''.join(out[i + 1 : i + 1 + k]) == two[0])
      return [*out[: i + 1], r'\overline', '{', two[1] + two[2] + two[3], '}', *out[i + 1 + used :]]
  if len(out) - (out[:1] == ['-']) == 4 and '.' in out[-4] and out[-3] == '(' and out[-2].isdigit() and out[-1] == ')':
    return [*out[:-3], r'\overline', '{', out[-2], '}']
  return out


def _repetend(digits: str) -> str:
  """The shortest part that stands at least twice at the end; '' where there is none."""
  for size in range(1, min(len(digits) // 2, 64) + 1):
    if digits[-size:] == digits[-2 * size : -size]:
      return digits[-size:]
  return ''
