"""The smallest parts of an answer: a formula with its values and its unit, a word, or a number of another base."""

from __future__ import annotations

import re
from collections.abc import Sequence

from sweb_jax.answers import expression, latex, values, vocabulary
from sweb_jax.answers.parts import Leaf

_BASE = re.compile(r'(-?)([0-9A-Z]+(?:\.[0-9A-Z]+)?)(?:_(?:base)?|(?:in)?base)([0-9]{1,2}|[a-z]+)', re.ASCII)
_PLAIN_FRACTION = re.compile(
  r'(-?)(?:\\frac(?:\{([0-9]+)\}|([0-9])) ?(?:\{([0-9]+)\}|([0-9]))|([0-9]+)/([0-9]+))', re.ASCII
)
_DIGITS = '0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZ'


def spell(found: Sequence[str]) -> str:
  """The tokens as one text; two numbers side by side stay two."""
  out: list[str] = []
  last = False
  for token in found:
    if last and token[0].isdigit():
      out.append(' ')
    out.append(token)
    last = token[-1].isdigit()
  return ''.join(out)


def enclosed(found: Sequence[str]) -> bool:
  """Whether the first token opens a bracket that the last one closes."""
  if len(found) < 2 or found[0] not in latex.OPENING or found[-1] not in latex.CLOSING:
    return False
  depth = 0
  for i, token in enumerate(found):
    depth += (token in latex.OPENING) - (token in latex.CLOSING)
    if not depth:
      return i == len(found) - 1
  return False


def read(found: tuple[str, ...], pi: float) -> Leaf:
  """The leaf that the tokens are, its values computed with this value of pi."""
  while enclosed(found) and found[0] in '({' and len(found) > 2:
    found = found[1:-1]
  text = spell(found)
  if ('_' in text or 'base' in text) and (base := _base(found)):
    if base[1] != '10':
      return Leaf(f'{base[0]}_{base[1]}', base=base)
    found = ('-', base[0][1:]) if base[0][0] == '-' else (base[0],)
  worded = '"' in text or "'" in text
  body, dimension = _measure(_digits(found) if worded else found)
  percent = body[-1:] == ('%',)
  if percent:
    body = body[:-1]
  if not body or (worded and any(t[0] in '"\'' for t in body)):
    return Leaf(text.replace('"', '').replace("'", ''), words=True)
  decimals = [t for t in body if '.' in t and t[-1].isdigit()] if '.' in text else []
  node = None
  try:
    node = expression.parse(body)
    points = values.POINTS if expression.names(node) else 1
    computed = tuple(values.evaluate(node, point, pi) for point in range(points))
  except (expression.ParseError, values.Unbounded):
    computed = ()
  return Leaf(
    text,
    node,
    computed,
    dimension,
    places=min((len(t.partition('.')[2]) for t in decimals), default=-1),
    digits=min((len(t.replace('.', '').strip('0')) for t in decimals), default=0),
    single=len(body) == 1 or (len(body) == 2 and body[0] in '+-'),
    percent=percent,
    fraction=_fraction(body),
  )


def _base(found: Sequence[str]) -> tuple[str, str] | None:
  """Digits, with their sign, and base of '52_8', '(52)_{(8)}', '52_{eight}', '52 base 8', or None."""
  match = _BASE.fullmatch(''.join(t.strip('"\'') for t in found if t not in '(){}'))
  if not match:
    return None
  base = vocabulary.NUMBER_WORDS.get(match[3], match[3])
  digits = match[2].lstrip('0') or '0'
  if not base.isdigit() or not all(0 <= _DIGITS.index(d) < int(base) for d in digits if d != '.'):
    return None
  return match[1] + digits, base


def _digits(found: tuple[str, ...]) -> tuple[str, ...]:
  """With a number word at the beginning in digits: 'five', 'negative five', 'two apples'."""
  at = next((i for i, t in enumerate(found) if t not in ('+', '-')), 0)
  number = vocabulary.NUMBER_WORDS.get(found[at].strip('"\'')) if found else None
  return found if number is None else (*found[:at], number, *found[at + 1 :])


def _measure(found: tuple[str, ...]) -> tuple[tuple[str, ...], tuple[tuple[str, int], ...]]:
  """What is not a unit or a comment, and the dimension: 15 and (('cm', 2),) of '15 cm^2', 5 and dollars of '$5'."""
  money = [vocabulary.CURRENCIES[t] for t in found if t in vocabulary.CURRENCIES]
  if money:
    found = tuple(t for t in found if t not in vocabulary.CURRENCIES)
  elif found and found[-1][0] not in '"23' and found[-1] not in ('/', '*', '.', '-', 'deg'):
    return found, ()
  end = len(found)
  while end > 1:
    if end > 3 and found[end - 3] == r'\frac' and found[end - 2][0] == found[end - 1][0] == '"':
      end -= 3
    elif found[end - 1][0] == '"':
      end -= 1
    elif end > 2 and found[end - 2] == '^' and found[end - 3][0] == '"':
      end -= 2
    elif found[end - 1] in ('/', '*', '.', '-') and end < len(found):
      end -= 1
    else:
      break
  words = list(found[end:])
  if not any(t[0] == '"' for t in words):
    end, words = len(found), []
  for at in [i for i, t in enumerate(words) if t == r'\frac']:  # '\frac{km}{h}'
    words[at : at + 3] = [words[at + 1], '/', words[at + 2]]
  dimension = vocabulary.dimension(words)
  for name in money:
    dimension[name] = 1
  body = found[:end]
  if not dimension and body[-1:] == ('deg',) and not any(t in expression.TRIGONOMETRIC for t in body):
    dimension['degree'] = 1
  return body, tuple(sorted(dimension.items()))


def _fraction(body: tuple[str, ...]) -> tuple[int, int] | None:
  if len(body) > 2 and (match := _PLAIN_FRACTION.fullmatch(spell(body))):
    top, bottom = (match[2] or match[3] or match[6]), (match[4] or match[5] or match[7])
    return int(match[1] + top), int(bottom)
  return None
