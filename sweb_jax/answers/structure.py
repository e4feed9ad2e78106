"""From the tokens of an answer to its structure: what is a list, a set, an interval, an equation, and what a formula.

Brackets match, which `latex.tokens` has checked, and parts are bounded; nothing here can recurse deeper than they do.
"""

from __future__ import annotations

import dataclasses
import functools
import re
from collections.abc import Sequence

from sweb_jax.answers import expression, latex, values, vocabulary

MAX_PARTS = 64
"""Of a list, set or tuple, and rows or columns of a matrix."""

_RELATIONS = ('=', r'\approx', r'\equiv', '<', '>', r'\le', r'\ge', r'\neq', r'\in')
_FLIPPED = {'>': '<', r'\ge': r'\le'}
_BASE = re.compile(r'\{?(-?[0-9A-Z]+(?:\.[0-9A-Z]+)?)\}?_\{?([0-9]{1,2}|"[a-z]+)\}?', re.ASCII)
_LABEL = re.compile(
  r"\\?[A-Za-z]+(?:_\{?\w+\}?)?'*(?:\^\{?-1\}?)?(?:\((?:\\?[A-Za-z](?:,[A-Za-z])*|-?[0-9]+)\))?|\([a-zA-Z](?:,[a-zA-Z])+\)"
)
_PLAIN_FRACTION = re.compile(
  r'(-?)(?:\\frac(?:\{([0-9]+)\}|([0-9]))(?:\{([0-9]+)\}|([0-9]))|([0-9]+)/([0-9]+))', re.ASCII
)


@dataclasses.dataclass(frozen=True)
class Leaf:
  """A formula, a word or a number of another base."""

  text: str
  """Normal form; equal texts are equal answers."""
  node: tuple | None = None
  values: tuple[values.Value, ...] = ()
  """One value of a constant, `values.POINTS` of a formula with names; empty where there is none."""
  unit: str = ''
  decimals: int = -1
  """Most decimal places of its numbers; -1 where none has a decimal point."""
  percent: bool = False
  """A percent sign stood at its end; `values` is without it."""
  words: bool = False
  base: tuple[str, str] | None = None
  """Digits and base of a number such as 11_4."""
  fraction: tuple[int, int] | None = None
  """Numerator and denominator where it is written as a fraction of whole numbers, reduced or not."""


@dataclasses.dataclass(frozen=True)
class Parts:
  """A structure: 'list', 'set', 'union', 'ratio', 'row' of a 'matrix', 'system', or a pair of brackets such as '[)'."""

  kind: str
  items: tuple


@dataclasses.dataclass(frozen=True)
class Relation:
  """parts[0] op parts[1] op ...; '>' is turned round. `label = value` has one operator, '='."""

  operators: tuple[str, ...]
  parts: tuple
  label: str = ''
  """Of a 'name = value': the name; else ''."""
  difference: tuple[values.Value, ...] = ()
  """Of one operator between formulas: left minus right at the fixed points."""


class Unreadable(ValueError):
  """The answer is empty, too long, too deep or too wide, or its brackets do not match."""


def read(text: str, thousands: bool, pi: float) -> Leaf | Parts | Relation:
  """The structure of an answer, with its leaves evaluated for this value of pi. Raises Unreadable.

  Short texts are remembered: one gold answer is compared with many samples.
  """
  return (_cached if len(text) <= 200 else _read_text)(text, thousands, pi)


def _read_text(text: str, thousands: bool, pi: float) -> Leaf | Parts | Relation:
  found = latex.tokens(text, thousands)
  if not found:
    raise Unreadable('no tokens')
  return _structure(found, pi)


_cached = functools.lru_cache(maxsize=512)(_read_text)


def _split(found: Sequence[str], separators: tuple[str, ...]) -> tuple[list[tuple[str, ...]], list[str]]:
  """The stretches between `separators` outside all brackets, and those separators."""
  pieces, used, start, depth = [], [], 0, 0
  for i, token in enumerate(found):
    if token in latex.OPENING:
      depth += 1
    elif token in latex.CLOSING:
      depth -= 1
    elif not depth and token in separators:
      pieces.append(tuple(found[start:i]))
      used.append(token)
      start = i + 1
  pieces.append(tuple(found[start:]))
  return pieces, used


def _enclosed(found: Sequence[str]) -> bool:
  """Whether the first token opens a bracket that the last one closes."""
  if len(found) < 2 or found[0] not in latex.OPENING or found[-1] not in latex.CLOSING:
    return False
  depth = 0
  for i, token in enumerate(found):
    depth += (token in latex.OPENING) - (token in latex.CLOSING)
    if not depth:
      return i == len(found) - 1
  return False


def _structure(found: tuple[str, ...], pi: float) -> Leaf | Parts | Relation:
  pieces, used = _split(found, (',',))
  if used:
    items = [_item(piece, pi) for piece in pieces if piece]
    if not items or len(items) > MAX_PARTS:
      raise Unreadable('too many parts')
    return _list(items)
  return _item(found, pi)


def _list(items: list) -> Leaf | Parts | Relation:
  """A bare list; 'x = 1, 2' is x = 1, x = 2, and lists inside it (from plus-minus) are spliced."""
  flat = []
  for item in items:
    flat.extend(item.items if isinstance(item, Parts) and item.kind == 'list' else (item,))
  label = flat[0].label if isinstance(flat[0], Relation) else ''
  if label and not any(isinstance(item, Relation) for item in flat[1:]):
    flat[0] = flat[0].parts[1]
    return Relation(('=',), (Leaf(label), Parts('list', tuple(flat))), label)
  return flat[0] if len(flat) == 1 else Parts('list', tuple(flat))


def _item(found: tuple[str, ...], pi: float) -> Leaf | Parts | Relation:
  if not found:
    return Leaf('')
  pieces, used = _split(found, _RELATIONS)
  if used:
    return _relation(pieces, used, pi)
  pieces, used = _split(found, (r'\cup',))
  if used:
    return Parts('union', tuple(_item(piece, pi) for piece in pieces[:MAX_PARTS]))
  if _enclosed(found):
    return _enclosed_item(found, pi)
  pieces, used = _split(found, (':',))
  if used and all(pieces):
    return Parts('ratio', tuple(_leaf(piece, pi) for piece in pieces))
  if r'\pm' in found or r'\mp' in found:
    signs = [{r'\pm': '+', r'\mp': '-'}, {r'\pm': '-', r'\mp': '+'}]
    return Parts('list', tuple(_item(tuple(s.get(t, t) for t in found), pi) for s in signs))
  return _leaf(found, pi)


def _enclosed_item(found: tuple[str, ...], pi: float) -> Leaf | Parts | Relation:
  kind, inner = latex.OPENING[found[0]], found[1:-1]
  if kind == 'group':
    return _structure(inner, pi) if inner else Leaf('')
  if kind in ('matrix', 'system'):
    rows = [row for row in _split(inner, ('\\\\',))[0] if row]
    if len(rows) > MAX_PARTS:
      raise Unreadable('too many rows')
    cells = [[_item(cell, pi) for cell in _split(row, ('&',))[0]] for row in rows]
    return Parts(kind, tuple(Parts('row', tuple(row)) for row in cells))
  pieces = _split(inner, (',',))[0]
  if len(pieces) > MAX_PARTS:
    raise Unreadable('too many parts')
  items = [_item(piece, pi) for piece in pieces if piece]
  if kind == 'set':
    flat = _list(items) if items else None
    if flat is None:
      return Leaf(r'\emptyset')
    return Parts('set', flat.items if isinstance(flat, Parts) and flat.kind == 'list' else (flat,))
  if len(items) == 1 and (found[0] == '(' or found[-1] == ']'):
    return items[0] if not isinstance(items[0], Leaf) else _leaf(inner, pi)
  return Parts(found[0] + found[-1], tuple(items))


def _relation(pieces: list[tuple[str, ...]], used: list[str], pi: float) -> Leaf | Parts | Relation:
  if (
    r'\approx' in used
  ):  # 'x = 1/3 = ... ~ 0.33': what stands before the approximation; '~ 8.24' and 'x ~ 8.24': after.
    at = used.index(r'\approx')
    if pieces[at] and not (at == 0 and _is_label(pieces[0])):
      pieces, used = pieces[: at + 1], used[:at]
      if not used:
        return _item(pieces[0], pi)
    else:
      used = ['=' if u == r'\approx' else u for u in used]
  used = ['=' if u in (r'\in', r'\equiv') else u for u in used]
  if set(used) == {'='}:
    if not pieces[0]:
      return _item(pieces[-1], pi)
    pieces, used = [pieces[0], pieces[-1]], ['=']
    left, right = pieces
    if _is_label(right) and not _is_label(left):
      left, right = right, left
    if _is_label(left):
      label = ''.join(left)
      return Relation(('=',), (Leaf(label), _item(right, pi)), label, _difference(left, right, pi))
    if not _names(left, pi) and not _names(right, pi):  # '0.56 = 56%': one value, written twice.
      return _item(right, pi)
    pieces = [left, right]
  if all(u in ('>', r'\ge') for u in used):
    pieces, used = pieces[::-1], [_FLIPPED[u] for u in used[::-1]]
  difference = _difference(pieces[0], pieces[1], pi) if len(pieces) == 2 else ()
  return Relation(tuple(used), tuple(_item(piece, pi) for piece in pieces), '', difference)


def _is_label(found: tuple[str, ...]) -> bool:
  """Whether this names a value: x, x_1, AB, f(x), f(3), f^{-1}(x), (x, y), a word."""
  text = ''.join(found)
  if text in ('e', 'i', r'\pi'):
    return False
  return bool(
    _LABEL.fullmatch(text)
    or (found and all(t[0] in '"\'' for t in found))
  ) and found[0] not in (r'\frac', r'\sqrt')


def _names(found: tuple[str, ...], pi: float) -> bool:
  leaf = _leaf(found, pi)
  return leaf.node is None or bool(expression.names(leaf.node))


def _difference(left: tuple[str, ...], right: tuple[str, ...], pi: float) -> tuple[values.Value, ...]:
  try:
    nodes = expression.parse(left), expression.parse(right)
    return tuple(values.evaluate(('+', nodes[0], ('-', nodes[1])), point, pi) for point in range(values.POINTS))
  except (expression.ParseError, values.Unbounded):
    return ()


def _leaf(found: tuple[str, ...], pi: float) -> Leaf:
  while _enclosed(found) and found[0] in '({' and len(found) > 2:
    found = found[1:-1]
  text = ''.join(found)
  if match := _BASE.fullmatch(text):
    base = vocabulary.NUMBER_WORDS.get(match[2].strip('"'), match[2])
    if base == '10':
      found = (match[1],) if not match[1].startswith('-') else ('-', match[1][1:])
      text = match[1]
    else:
      sign, digits = ('-', match[1][1:]) if match[1][0] == '-' else ('', match[1])
      return Leaf(f'{match[1]}_{base}', base=(sign + (digits.lstrip('0') or '0'), base))
  if len(found) == 1 and found[0].strip('"\'') in vocabulary.NUMBER_WORDS:
    found = (vocabulary.NUMBER_WORDS[found[0].strip('"\'')],)
  body, unit = _unit(found)
  percent = body[-1:] == ('%',)
  if percent:
    body = body[:-1]
  if any(t[0] in '"\'' for t in body) or not body:
    return Leaf(text.replace('"', '').replace("'", ''), words=True)
  places = [len(t.partition('.')[2]) for t in body if '.' in t and t[-1].isdigit()]
  decimals = max(places, default=-1)
  match = _PLAIN_FRACTION.fullmatch(''.join(body))
  fraction = None
  if match:
    top, bottom = (match[2] or match[3] or match[6]), (match[4] or match[5] or match[7])
    fraction = int(match[1] + top), int(bottom)
  try:
    node = expression.parse(body)
  except expression.ParseError:
    return Leaf(text, unit=unit, percent=percent)
  try:
    points = values.POINTS if expression.names(node) else 1
    found_values = tuple(values.evaluate(node, point, pi) for point in range(points))
  except values.Unbounded:
    found_values = ()
  return Leaf(text, node, found_values, unit, decimals, percent, fraction=fraction)


def _unit(found: tuple[str, ...]) -> tuple[tuple[str, ...], str]:
  """What stands before the words at the end, and those words: 15 and 'cm' of '15 cm^2'."""
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
  words = [t[1:] for t in found[end:] if t[0] == '"']
  return (found[:end], ' '.join(words)) if words else (found, '')
