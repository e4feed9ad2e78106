"""From the LaTeX of a final answer to tokens in one spelling: what does not change the answer is dropped here.

    '\\boxed{\\$12{,}000.}'         -> ('12000',)
    '\\dfrac12\\text{ cm}^2'        -> ('\\frac', '1', '2', '"cm')     a leading " marks a word
    '30^{\\circ}'                   -> ('30', 'deg')
    'x=1\\text{ or }x=-2'           -> ('x', '=', '1', '\\lor', 'x', '=', '-', '2')
    '\\$5'                          -> ('$', '5')     a currency is a unit

Nothing is evaluated. Every step is linear in the text, whose length the caller bounds.
"""

from __future__ import annotations

import re

from sweb_jax.answers import numerals
from sweb_jax.answers.vocabulary import (
  ARROWS,
  CURRENCIES,
  DEGREE_UNITS,
  DROPPED,
  DROPPED_GROUP,
  FONTS,
  FUNCTIONS,
  LETTER_UNITS,
  MATRICES,
  NUMBER_WORDS,
  PLAIN_UNITS,
  SPELLINGS,
  TEXT,
  UNICODE,
  multiplier,
  unit,
)

MAX_CHARS = 500
"""Characters of the longest answer that is read; the longest of the MATH data set has 159."""

MAX_DEPTH = 24
"""Brackets inside brackets."""

OPENING = {'(': 'round', '[': 'round', '{': 'group', r'\{': 'set', 'matrix(': 'matrix', 'system(': 'system'}
CLOSING = {')': 'round', ']': 'round', '}': 'group', r'\}': 'set', 'matrix)': 'matrix', 'system)': 'system'}
"""Kinds of brackets; of one kind any two match, as in [0, 1)."""

_VECTORS = {name: rf'\vec{name}' for name in 'ijk'}
_VECTOR_FONTS = frozenset(
  (r'\mathbf', r'\hat', r'\vec', r'\boldsymbol', r'\bm', r'\bold', r'\widehat', r'\overrightarrow')
)
_PLAIN = frozenset('0123456789+-=()[],/!<>|')
"""What tokens begin with that pass as they are."""

_SIGNS = {'negative': '-', 'minus': '-', 'positive': '+', 'plus': '+'}
_ROW_SPACE = re.compile(r'\[-?[0-9.]*(?:pt|ex|em|mm|cm|in|\\baselineskip)\*?\]')
_TOKEN = re.compile(
  r'\\(?:begin|end) *\{ *[a-zA-Z]+\*? *\}|\\not\s*(?:=|\\in\b)|\\[a-zA-Z]+\*?|\\.|[0-9]+ +[0-9]+ */ *[0-9]+(?![0-9.])'
  r'|[0-9]*\.[0-9]*(?=\s*(?:\\(?:overline|bar|dot)\b|\([0-9]+\)\s*\Z))|[0-9]+(?:\.[0-9]+)?(?:[eE][-+]?[0-9]+)?'
  r'|\.[0-9]+|[a-zA-Z]+|\*\*|[<>!=]=|=<|\.{3}|\s+|\S',
  re.ASCII | re.DOTALL,
)


REALS = ('(', '-', r'\infty', ',', r'\infty', ')')
"""The tokens of the set of all real numbers."""


def tokens(text: str, thousands: bool = True) -> tuple[str, ...] | None:
  """The answer's tokens in one spelling, or None where it is too long, too deep or its brackets do not match.

  With `thousands`, '1,234' and '1 234' are one number; without, two: only the caller's other answer can tell.
  """
  if len(text) > MAX_CHARS:
    return None
  raw = _TOKEN.findall(_unescaped(text.translate(UNICODE)))
  found = _prefixed(numerals.join(_words(raw), thousands))
  if arrows := [i for i, t in enumerate(found) if t in ARROWS]:  # 'x - 3 = 0 \\Rightarrow x = 3': what comes out.
    found = found[arrows[-1] + 1 :]
  while found and found[-1] in ('.', ',', ':', '\\\\', "'", '\\'):
    found.pop()
  while found[-1:] == ['}'] and found[-2:-1] in (['.'], [',']):
    del found[-2]
  while found and (found[0] in (',', ':', '\\\\') or (found[0] == '.' and found[1:2] != [r'\overline'])):
    found.pop(0)
  if len(found) == 2 and found[1] == ')':  # 'C)' is choice C.
    found.pop()
  return tuple(_unbraced(found)) if balanced(found) else None


def _unescaped(text: str) -> str:
  """The text with single backslashes where all are doubled, as in a JSON that was escaped twice."""
  if '\\\\' not in text or any(len(run) % 2 for run in re.findall(r'\\+', text)):
    return text
  if not re.search(r'\\\\[a-zA-Z{}$%,;:!]', text):
    return text
  return text.replace('\\\\', '\\')


def balanced(found: list[str]) -> bool:
  """Whether every bracket is closed by one of its kind, no deeper than `MAX_DEPTH`."""
  open_kinds: list[str] = []
  for token in found:
    if kind := OPENING.get(token):
      open_kinds.append(kind)
      if len(open_kinds) > MAX_DEPTH:
        return False
    elif (kind := CLOSING.get(token)) and (not open_kinds or open_kinds.pop() != kind):
      return False
  return not open_kinds


def _group(raw: list[str], start: int) -> tuple[list[str], int]:
  """The tokens of the group that begins at or after `start` and where it ends; a single token without braces."""
  while start < len(raw) and raw[start].isspace():
    start += 1
  if start >= len(raw) or raw[start] != '{':
    return raw[start : start + 1], start + 1
  depth = 0
  for i in range(start, len(raw)):
    depth += (raw[i] == '{') - (raw[i] == '}')
    if not depth:
      return raw[start + 1 : i], i + 1
  return raw[start + 1 :], len(raw)


def _words(raw: list[str]) -> list[str]:
  """Fonts and spacing are dropped, commands get one spelling, letters become names, functions or words.

  White space stays where two numbers would otherwise touch.
  """
  out: list[str] = []
  lone_dollar = raw.count('$') == 1  # A pair encloses a formula; one is an amount.
  pending = [raw]  # A stack of token lists and places: groups of fonts are read in place.
  places = [0]
  texts = [False]
  while pending:
    row, i, in_text = pending[-1], places[-1], texts[-1]
    if i >= len(row):
      pending.pop(), places.pop(), texts.pop()
      if in_text:
        out.append(' ')
      continue
    token = SPELLINGS.get(row[i], row[i])
    places[-1] = i + 1
    if token[0] in _PLAIN:
      out.append(token)
    elif token in DROPPED:
      if token == r'\!' and out and out[-1] == ',':
        out[-1] = '{,}'
      elif token in (r'\,', r'\ ', r'\;', r'\:', r'\>', '~', r'\quad', r'\qquad'):
        out.append(r'\,' if token == r'\,' else ' ')
    elif token in ('$', r'\$', r'\textdollar') or token in CURRENCIES:
      if token != '$' or lone_dollar or in_text:
        out.append('$' if token[0] == '\\' else token)
    elif token == '\\\\':
      out.append(token)
      end = next((k for k in range(i + 1, min(i + 12, len(row))) if row[k] == ']'), i)
      if _ROW_SPACE.fullmatch(''.join(row[i + 1 : end + 1]).replace(' ', '').replace('\n', '')):
        places[-1] = end + 1
    elif token in DROPPED_GROUP:
      places[-1] = _group(row, i + 1)[1]
    elif token == r'\overline' and _group(row, i + 1)[0][:1] and _group(row, i + 1)[0][0].isalpha():
      pass  # The segment AB; of a number, the part that repeats.
    elif token in TEXT or token in FONTS:
      body, places[-1] = _group(row, i + 1)
      if token == r'\textcolor':
        body, places[-1] = _group(row, places[-1])
      inner = ''.join(SPELLINGS.get(t, t) for t in body).strip()
      if token in _VECTOR_FONTS and inner in _VECTORS:
        out.append(_VECTORS[inner])
        continue
      wordy = token in TEXT or (
        token not in (r'\boxed', r'\fbox')
        and len(body) == 1
        and (len(body[0]) > 1 or body[0] in LETTER_UNITS or body[0] in DEGREE_UNITS)
        and body[0] not in FUNCTIONS
      )
      pending.append(body), places.append(0), texts.append(wordy)
    elif token == r'\mathbb':
      body, places[-1] = _group(row, i + 1)
      out.extend(REALS if body == ['R'] else body)
    elif token == r'\R':
      out.extend(REALS)
    elif token == '^' and out[-6:] == list(REALS) and (sign := _group(row, i + 1)[0]) in (['+'], ['-']):
      out[-6:] = ['(', '0', ',', r'\infty', ')'] if sign == ['+'] else ['(', '-', r'\infty', ',', '0', ')']
      places[-1] = _group(row, i + 1)[1]
    elif token == '^' and (place := _after_circle(row, i + 1, bool(out) and out[-1][-1].isdigit())):
      out.append('deg')
      places[-1] = place
    elif token == '{' and row[i + 1 : i + 3] == [',', '}']:
      out.append('{,}')
      places[-1] = i + 3
    elif token.startswith((r'\begin', r'\end')) and token[-1] == '}':
      name = token[token.index('{') + 1 : -1].strip(' *')
      if name in MATRICES:
        out.append('matrix(' if token[1] == 'b' else 'matrix)')
        if name == 'array' and token[1] == 'b':
          places[-1] = _group(row, i + 1)[1]
      elif name not in ('align', 'aligned', 'equation', 'gathered', 'split'):
        out.append('system(' if token[1] == 'b' else 'system)')
    elif token[0].isascii() and token[0].isalpha() and token != 'deg':
      spaced = bool(out) and out[-1] in (' ', r'\,')
      dotted = row[i + 1 : i + 4] in (['.', 'm', '.'], ['.', 'm'])
      if dotted and token.lower() in ('a', 'p'):
        token, places[-1] = token + 'm', i + 4
      before = next((t for t in reversed(out) if t not in (' ', r'\,')), '')
      if token == 'm' and row[i + 1 : i + 3] == ['/', 's'] and before[-1:].isdigit():
        out.extend(['"m', '/', '"s'])
        places[-1] = i + 3
      elif token == 'U' and before in (')', ']', r'\}'):
        out.append(r'\cup')
      elif token == 'R' and before == r'\in':
        out.extend(REALS)
      elif in_text and token in DEGREE_UNITS and before == 'deg':
        out.append(f'"{DEGREE_UNITS[token]}')
      elif (
        in_text
        and token in LETTER_UNITS
        and (before[-1:].isdigit() or before in ('}', ')') or any(t[0] == '"' for t in out[-4:]))
      ):
        out.append(f'"{token.lower()}')
      else:
        counted = before[-1:].isdigit() or before == '}' or before[1:] in NUMBER_WORDS
        last = not any(t[0].isalnum() or t == '(' for t in row[i + 1 :])
        if counted and last and len(token) > 1 and unit(token.lower()):  # '40 min', where min is no function.
          out.append(f'"{token.lower()}')
        else:
          out.extend(_letters(token, in_text, spaced, counted))
    elif token.isspace():
      if out and out[-1] != ' ':
        out.append(' ')
    elif token == '.' and in_text:
      continue
    else:
      out.append(token)
  return out


def _after_circle(row: list[str], i: int, number: bool) -> int | None:
  """The place after the rest of '^\\circ', '^{\\circ}' or, after a number, '^o'; None where something else follows."""
  body, end = _group(row, i)
  body = [t for t in body if not t.isspace()]
  return end if body == [r'\circ'] or (number and body == ['o']) else None


def _letters(run: str, in_text: bool, spaced: bool, counted: bool) -> list[str]:
  """A run of letters: a separator, a function, a word or unit (marked by "), or a product of one-letter names.

  `counted`: a number stands before it.
  """
  low = run.lower()
  if low in ('and', 'or'):
    return [r'\land' if low == 'and' else r'\lor']
  if low in ('is', 'equals') and (in_text or spaced):
    return ['=']
  if low in _SIGNS and (in_text or spaced or len(run) > 4):
    return [_SIGNS[low]]
  if counted and (by := multiplier(low)):
    return ['*', str(by[0])] if by[1] == 1 else ['*', r'\frac', '{', str(by[0]), '}', '{', str(by[1]), '}']
  if low in ('percent', 'percentage', 'pct'):
    return ['%']
  if low in ('degree', 'degrees'):
    return ['deg']
  if low in ('infinity', 'infty', 'inf', 'oo'):
    return [r'\infty']
  if not in_text:
    if low in FUNCTIONS or low == 'pi':
      return ['\\' + low]
    if low == 'union':
      return [r'\cup']
  if low in NUMBER_WORDS:
    return [f'"{low}']
  known = len(run) > 1 and (unit(low) or low in PLAIN_UNITS)
  if known and (in_text or spaced or len(run) > 2 or low in ('cm', 'km', 'mm', 'kg', 'ft')):
    return [f'"{low}']
  if (len(run) > 1 and in_text) or (len(run) > 3 and spaced):
    return [f'"{low}']
  # A word that is no unit and touches what stands before it may not be dropped: it may be a product of names.
  if len(run) > 3 or (len(run) == 3 and run[0].isupper()):
    return [f"'{low}"]
  return list(run)


def _prefixed(found: list[str]) -> list[str]:
  """'{a \\over b}' as '{\\frac{a}{b}}', and \\choose likewise, once a group."""
  while at := next((i for i, t in enumerate(found) if i and t in (r'\over', r'\choose')), 0):
    start, end = _edge(found, at, -1), _edge(found, at, 1)
    command = r'\frac' if found[at] == r'\over' else r'\binom'
    inner = [command, '{', *found[start + 1 : at], '}', '{', *found[at + 1 : end], '}']
    found = [*found[: start + 1], *inner, *found[end:]]
  return found


def _edge(found: list[str], at: int, step: int) -> int:
  """The place of the brace around `at` on one side, or just outside the tokens."""
  depth, i = 0, at + step
  while 0 <= i < len(found) and depth >= 0:
    depth += step * ((found[i] == '{') - (found[i] == '}'))
    i += step
  return i - step if depth < 0 else i


def _unbraced(found: list[str]) -> list[str]:
  """'{x}' is 'x' where the braces hold one token, except that '{12}' stays after a fraction: '\\frac{12}3'."""
  out: list[str] = []
  for token in found:
    if token == '}' and len(out) > 1 and out[-2] == '{' and not (out[-1].isdigit() and len(out[-1]) > 1):
      inner = out.pop()
      out[-1] = inner
    else:
      out.append(token)
  return out
