"""From the tokens of an answer to its structure: what is a list, a set, an interval, an equation, and what a formula.

    structure  item ((, | and | or) item)*
    item       chain of relations | union | intersection | difference | bracketed | ratio | plus-minus | matrices | leaf
    bracketed  group | set, or its builder {name | conditions} | pair, point or interval | matrix

Brackets match, which `latex.tokens` has checked, and parts are bounded; nothing here can recurse deeper than they do.
"""

from __future__ import annotations

import functools
from collections.abc import Collection, Sequence

from sweb_jax.answers import expression, labels, latex, leaves, matrices, values
from sweb_jax.answers.parts import Leaf, Parts, Relation

MAX_PARTS = 64
"""Of a list, set or tuple, and rows or columns of a matrix."""

_RELATIONS = frozenset(('=', r'\approx', r'\equiv', '<', '>', r'\le', r'\ge', r'\neq', r'\in', r'\notin'))
_FLIPPED = {'>': '<', r'\ge': r'\le'}
_SEPARATORS = frozenset((',', r'\land', r'\lor'))
_SETS = {r'\cup': 'union', r'\cap': 'intersection', r'\setminus': 'difference'}
_MARKS = _RELATIONS | _SETS.keys() | frozenset((',', ':', r'\pm', r'\mp', 'matrix('))
"""Without one of these, and without brackets around it, an item is a leaf."""

_REALS = frozenset(('"real', "'real", '"reals', "'reals"))
_OF_REALS = frozenset(
  ['all', 'any', 'every', 'the', 'set', 'of', 'is', 'are', 'can', 'be', 'number', 'numbers', 'value', 'values']
)
_EXCEPT = frozenset(['except', 'but', 'for', 'other', 'than', 'excluding', 'not', 'equal', 'to', 'where'])
_SUCH_THAT = frozenset(['such', 'that', 'with', 'where', 'for', 'which', 'satisfying'])


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


def _split(found: Sequence[str], separators: Collection[str]) -> tuple[list[tuple[str, ...]], list[str]]:
  """The stretches between `separators` outside all brackets, and those separators."""
  if frozenset(separators).isdisjoint(found):
    return [tuple(found)], []
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


def _structure(found: tuple[str, ...], pi: float) -> Leaf | Parts | Relation:
  pieces, used = _split(found, _SEPARATORS)
  if not used:
    return _item(found, pi)
  items = [_item(piece, pi) for piece in pieces if piece]
  if not items or len(items) > MAX_PARTS:
    raise Unreadable('too many parts')
  if any(isinstance(item, Relation) and item.operators != ('=',) for item in items):
    for word, kind in ((r'\lor', 'or'), (r'\land', 'and')):  # 'or' binds less than 'and'.
      if word in used and len(items) > 1:
        return Parts(kind, tuple(_structure(piece, pi) for piece in _split(found, (word,))[0] if piece))
  return _list(items)


def _list(items: list) -> Leaf | Parts | Relation:
  """A bare list; 'x = 1, 2' is x = 1, x = 2, and lists inside it (from plus-minus) are spliced."""
  flat = []
  for item in items:
    flat.extend(item.items if isinstance(item, Parts) and item.kind == 'list' else (item,))
  first = flat[0]
  if isinstance(first, Relation) and not any(isinstance(item, Relation) for item in flat[1:]):
    if first.label:
      listed = (first.parts[1], *(_ordered(item, first.parts[0].text) for item in flat[1:]))
      return Relation(('=',), (first.parts[0], Parts('list', listed)), first.label)
    if first.operators in ((r'\neq',), (r'\notin',)):
      return Relation(first.operators, (first.parts[0], Parts('list', (first.parts[1], *flat[1:]))))
  return flat[0] if len(flat) == 1 else Parts('list', tuple(flat))


def _item(found: tuple[str, ...], pi: float) -> Leaf | Parts | Relation:
  if not found:
    return Leaf('')
  if found[0] not in latex.OPENING and _MARKS.isdisjoint(found) and _REALS.isdisjoint(found):
    return leaves.read(found, pi)
  pieces, used = _split(found, (r'\cup',))
  if used and all(_split(piece, _RELATIONS)[1] for piece in pieces[:MAX_PARTS]):  # 'x < 1 \\cup x > 2'
    return Parts('union', tuple(_item(piece, pi) for piece in pieces[:MAX_PARTS]))
  if (reals := _reals_in_words(found, pi)) is not None:
    return reals
  pieces, used = _split(found, _RELATIONS)
  if used:
    return _relation(pieces, used, pi)
  for token, kind in _SETS.items():
    pieces, used = _split(found, (token,))
    if used:
      return Parts(kind, tuple(_item(piece, pi) for piece in pieces[:MAX_PARTS]))
  if leaves.enclosed(found):
    return _enclosed(found, pi)
  if found[0].isalpha() and found[0].isupper() and found[1:2] == ('(',) and ',' in found and leaves.enclosed(found[1:]):
    return Relation(('=',), (Leaf(found[0]), _enclosed(found[1:], pi)), found[0])  # The point P(2, 3).
  pieces, used = _split(found, ('-',))
  if len(pieces) == 2 and pieces[0][:1] in (('(',), ('[',)) and pieces[1][:1] == (r'\{',):  # 'R - {1}'
    return Parts('difference', tuple(_item(piece, pi) for piece in pieces))
  pieces, used = _split(found, (':',))
  if used and all(pieces):
    return Parts('ratio', tuple(leaves.read(piece, pi) for piece in pieces))
  if r'\pm' in found or r'\mp' in found:
    signs = [{r'\pm': '+', r'\mp': '-'}, {r'\pm': '-', r'\mp': '+'}]
    return Parts('list', tuple(_item(tuple(s.get(t, t) for t in found), pi) for s in signs))
  if 'matrix(' in found or ',' in found:
    cells = matrices.cells(found)
    if cells is not None:
      return _matrix(cells, pi)
  return leaves.read(found, pi)


def _matrix(cells: matrices.Cells, pi: float) -> Parts:
  if len(cells) > MAX_PARTS or any(len(row) > MAX_PARTS for row in cells):
    raise Unreadable('too many rows or columns')
  return Parts('matrix', tuple(Parts('row', tuple(_item(cell, pi) for cell in row)) for row in cells))


def _enclosed(found: tuple[str, ...], pi: float) -> Leaf | Parts | Relation:
  kind, inner = latex.OPENING[found[0]], found[1:-1]
  if kind == 'group':
    return _structure(inner, pi) if inner else Leaf('')
  if kind in ('matrix', 'system'):
    matrix = _matrix(matrices.rows(inner), pi)
    return matrix if kind == 'matrix' else Parts(kind, matrix.items)
  if kind == 'set' and (where := _set_builder(inner, pi)):
    return where
  pieces, used = _split(inner, _SEPARATORS if kind == 'set' else (',',))
  if len(pieces) > MAX_PARTS:
    raise Unreadable('too many parts')
  items = [_item(piece, pi) for piece in pieces if piece]
  if kind == 'set':
    flat = _list(items) if items else None
    if flat is None:
      return Leaf(r'\emptyset')
    return Parts('set', flat.items if isinstance(flat, Parts) and flat.kind == 'list' else (flat,))
  if len(items) == 1 and not used and (found[0] == '(' or found[-1] == ']'):
    return leaves.read(inner, pi) if isinstance(items[0], Leaf) else items[0]
  return Parts(found[0] + found[-1], tuple(items))


def _set_builder(inner: tuple[str, ...], pi: float) -> Parts | None:
  """'x | 2 <= x < 5' or 'x in R : x != 1', what stands in braces; None where it is no such form."""
  at = next((i for i, t in enumerate(inner) if t in ('|', ':')), 0)
  before, used = _split(inner[:at], (r'\in',))
  if not at or len(inner) == at + 1 or len(used) > 1 or not labels.label(before[0]):
    return None
  conditions = _structure(inner[at + 1 :], pi)
  return Parts('where', (Parts('and', (_item(before[1], pi), conditions)) if used else conditions,))


def _reals_in_words(found: tuple[str, ...], pi: float) -> Parts | None:
  """'all real numbers', 'all reals except 1 and 2', 'x is any real number such that x > 3'; None for anything else."""
  if _REALS.isdisjoint(found):
    return None
  words = [t.strip('"\'') if t[0] in '"\'' else '' for t in found]
  at = next(i for i, token in enumerate(found) if token in _REALS)
  if not all(word in _OF_REALS or labels.label(found[:1]) for word in words[:at]):
    return None
  end = at + 1
  while end < len(found) and words[end] not in _EXCEPT | _SUCH_THAT and (
    words[end] in _OF_REALS or labels.label(found[end : end + 1])
  ):
    end += 1
  everything = _item(latex.REALS, pi)
  start = next((i for i in range(end, len(found)) if not words[i]), len(found))
  if start == len(found):
    return everything if end == len(found) else None
  conditions = _structure(found[start:], pi)
  said = set(words[end:start])
  if said <= _EXCEPT and not isinstance(conditions, Relation | Parts):
    return Parts('difference', (everything, conditions))
  if isinstance(conditions, Relation) and conditions.operators == ('=',) and said <= _EXCEPT:
    return Parts('difference', (everything, conditions.parts[1]))
  if isinstance(conditions, Parts) and said <= _EXCEPT:
    return Parts('difference', (everything, Parts('set', conditions.items)))
  return Parts('and', (everything, conditions)) if said <= _EXCEPT | _SUCH_THAT else None


def _relation(pieces: list[tuple[str, ...]], used: list[str], pi: float) -> Leaf | Parts | Relation:
  if r'\approx' in used:
    # 'x = 1/3 = ... ~ 0.33': what stands before the approximation; '~ 8.24' and 'x ~ 8.24': after.
    at = used.index(r'\approx')
    if pieces[at] and not (at == 0 and labels.label(pieces[0])):
      pieces, used = pieces[: at + 1], used[:at]
      if not used:
        return _item(pieces[0], pi)
    else:
      used = ['=' if u == r'\approx' else u for u in used]
  used = ['=' if u in (r'\in', r'\equiv') else u for u in used]
  if set(used) == {'='}:
    return _equation(pieces, pi)
  if all(u in ('>', r'\ge') for u in used):
    pieces, used = pieces[::-1], [_FLIPPED[u] for u in used[::-1]]
  difference = _difference(pieces[0], pieces[1], pi) if len(pieces) == 2 else ()
  return Relation(tuple(used), tuple(_item(piece, pi) for piece in pieces), '', difference)


def _equation(pieces: list[tuple[str, ...]], pi: float) -> Leaf | Parts | Relation:
  """'name = value', a chain of equalities, which ends in the value, an equation, or the value of 0.56 = 56%."""
  if not pieces[0]:
    return _item(pieces[-1], pi)
  left, right = pieces[0], pieces[-1]
  if labels.label(right) and not labels.label(left):
    left, right = right, left
  name, value = labels.label(left), _item(right, pi)
  difference = _difference(left, right, pi)
  if name:
    point = labels.coordinates(name)
    return Relation(('=',), (Leaf(name), _ordered(value, name)), point[0] if point else name, difference)
  left_value = _item(left, pi)
  if isinstance(left_value, Leaf) and isinstance(value, Leaf):
    if _constant(left_value) and _constant(value):
      return value
    if _constant(left_value):
      left, right, left_value, value = right, left, value, left_value
  asked = labels.asked(left)
  if isinstance(value, Leaf) and value.values == (0,) and any(t in ('+', '-') for t in left):
    asked = ''  # x + y + z = 0 is an equation.
  chain = len(pieces) > 2 and not _named(pieces[-2], pi)
  if (asked or chain) and (not isinstance(value, Leaf) or _constant(value)):
    return Relation(('=',), (Leaf(asked or leaves.spell(left)), value), asked or leaves.spell(left), difference)
  return Relation(('=',), (left_value, value), '', difference)


def _ordered(value: Leaf | Parts | Relation, name: str) -> Leaf | Parts | Relation:
  """The points of '(y,x) = (1,2)' with their coordinates as points are written, (2,1)."""
  point = labels.coordinates(name)
  if point is None or not isinstance(value, Parts):
    return value
  if value.kind in ('list', 'set'):
    return Parts(value.kind, tuple(_ordered(item, name) for item in value.items))
  if value.kind != '()' or len(value.items) != len(point[1]):
    return value
  return Parts('()', tuple(value.items[i] for i in point[1]))


def _constant(leaf: Leaf) -> bool:
  return leaf.constant or leaf.base is not None


def _named(found: tuple[str, ...], pi: float) -> bool:
  leaf = leaves.read(found, pi)
  return leaf.node is None or bool(expression.names(leaf.node))


def _difference(left: tuple[str, ...], right: tuple[str, ...], pi: float) -> tuple[values.Value, ...]:
  try:
    nodes = expression.parse(left), expression.parse(right)
    return tuple(values.evaluate(('+', nodes[0], ('-', nodes[1])), point, pi) for point in range(values.POINTS))
  except (expression.ParseError, values.Unbounded):
    return ()
