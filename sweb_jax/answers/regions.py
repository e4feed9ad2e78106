"""Sets of real numbers in any notation: intervals and their unions, inequalities, R without a point, set-builder."""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Callable
from fractions import Fraction

from sweb_jax.answers.parts import Leaf, Parts, Relation
from sweb_jax.answers.values import Approximate, complex_value

MAX_PIECES = 64

INFINITY = Leaf(r'\infty', ('infinity',), values=(Approximate(math.inf, 0.0),))
MINUS_INFINITY = Leaf(r'-\infty', ('-', ('infinity',)), values=(Approximate(-math.inf, 0.0),))


@dataclasses.dataclass(frozen=True)
class Piece:
  """An interval; a point where both ends are one, closed."""

  low: Leaf
  low_closed: bool
  high: Leaf
  high_closed: bool


Pieces = tuple[Piece, ...]
"""Of one set: in order, apart from each other."""


@dataclasses.dataclass(frozen=True)
class Region:
  """A set of real numbers."""

  pieces: Pieces
  name: str = ''
  """Of the variable where the set is given by conditions on one."""


_ALL: Pieces = (Piece(MINUS_INFINITY, False, INFINITY, False),)


def is_region(structure: Leaf | Parts | Relation) -> bool:
  """Whether this can only be meant as a set of reals: not so a pair, a list of numbers or 'x = 1'."""
  if isinstance(structure, Relation):
    return structure.operators != ('=',) or (isinstance(structure.parts[-1], Parts) and is_region(structure.parts[-1]))
  if isinstance(structure, Leaf):
    return False
  if structure.kind in ('union', 'intersection', 'difference', 'where', '(]', '[)'):
    return True
  if structure.kind in ('list', 'and', 'or'):
    return any(is_region(item) for item in structure.items)
  return structure.kind in ('()', '[]') and any(isinstance(i, Leaf) and not _finite(i) for i in structure.items)


def region(structure: Leaf | Parts | Relation) -> Region | None:
  """The set of reals that a structure means, where it is read as one; None where it cannot be."""
  if isinstance(structure, Leaf):
    point = _point(structure)
    return None if point is None else Region((point,))
  if isinstance(structure, Relation):
    return _solutions(structure)
  kind, items = structure.kind, structure.items
  if kind in ('()', '[]', '(]', '[)'):
    return _interval(kind, items)
  if kind == 'where':  # The conditions of a set-builder; its variable is bound.
    found = region(items[0])
    return found and Region(found.pieces)
  if kind == 'set' and not items:
    return Region(())
  combine = {'union': _union, 'set': _union, 'intersection': _intersection, 'difference': _difference}
  combine |= {'or': _union, 'and': _intersection, 'list': _conditions}
  if kind not in combine or len(items) > MAX_PIECES:
    return None
  parts = [region(item) for item in items]
  if any(part is None for part in parts):
    return None
  names = {part.name for part in parts if part.name}
  if len(names) > 1:
    return None
  pieces = parts[0].pieces
  for part in parts[1:]:
    pieces = combine[kind](pieces, part.pieces)
    if len(pieces) > MAX_PIECES:
      return None
  return Region(_union(pieces, ()), names.pop() if names else '')


def same_region(one: Region, other: Region, same_end: Callable[[Leaf, Leaf], bool]) -> bool:
  """Whether two sets are the same: every end, open or closed; and the variable, where both name one."""
  if one.name and other.name and one.name != other.name:
    return False
  return len(one.pieces) == len(other.pieces) and all(
    (a.low_closed, a.high_closed) == (b.low_closed, b.high_closed)
    and same_end(a.low, b.low)
    and same_end(a.high, b.high)
    for a, b in zip(one.pieces, other.pieces, strict=True)
  )


def _finite(leaf: Leaf) -> bool:
  return not leaf.constant or math.isfinite(abs(complex_value(leaf.values[0])))


def _real(leaf: Leaf) -> Fraction | float | None:
  """The value of a constant that is real; exact where it is rational."""
  if not leaf.constant or leaf.words or leaf.base:
    return None
  value = leaf.values[0]
  if isinstance(value, Fraction):
    return value
  number = complex(value)
  return number.real if abs(number.imag) <= 1e-9 * abs(number) else None


def _is_finite(number: Fraction | float) -> bool:
  return isinstance(number, Fraction) or math.isfinite(number)


def _point(leaf: Leaf) -> Piece | None:
  number = _real(leaf)
  return None if number is None or not _is_finite(number) else Piece(leaf, True, leaf, True)


def _interval(kind: str, items: tuple) -> Region | None:
  if len(items) != 2 or not all(isinstance(i, Leaf) for i in items):
    return None
  low, high = (_real(item) for item in items)
  if low is None or high is None or not low < high:
    return None
  return Region((Piece(items[0], kind[0] == '[', items[1], kind[1] == ']'),))


def _solutions(relation: Relation) -> Region | None:
  """What a condition on one variable leaves: 2 <= x < 5, x != 1, x in a set, x = 1 or 2."""
  parts, operators = relation.parts, relation.operators
  if operators in (('=',), (r'\neq',), (r'\notin',)):
    at = next((i for i in (0, 1) if relation.label or _variable(parts[i])), None)
    if at is None or len(parts) != 2:
      return None
    value = parts[1] if relation.label else parts[1 - at]
    # 'x != 1, 2' leaves out each, 'x = 1, 2' is either.
    found = region(Parts('set', value.items) if isinstance(value, Parts) and value.kind == 'list' else value)
    name = relation.label or parts[at].text
    return found and Region(found.pieces if operators == ('=',) else _difference(_ALL, found.pieces), name)
  if not set(operators) <= {'<', r'\le'} or not all(isinstance(p, Leaf) for p in parts):
    return None
  numbers = [_real(p) for p in parts]
  places = [i for i, p in enumerate(parts) if _variable(p)]
  if len(places) != 1 or sum(n is None for n in numbers) != 1:
    return None
  at = places[0]
  low = (parts[at - 1], operators[at - 1] != '<') if at else (MINUS_INFINITY, False)
  high = (parts[at + 1], operators[at] != '<') if at + 1 < len(parts) else (INFINITY, False)
  ends = [n for n in (_real(low[0]), _real(high[0])) if n is not None]
  if len(parts) > 3 or ends[0] > ends[1] or (ends[0] == ends[1] and not (low[1] and high[1])):
    return None
  return Region((Piece(*low, *high),), parts[at].text)


def _variable(part) -> bool:
  return isinstance(part, Leaf) and part.node is not None and part.node[0] == 'name' and not part.dimension


def _union(one: Pieces, other: Pieces) -> Pieces:
  """With what overlaps or touches joined."""
  out: list[Piece] = []
  for piece in sorted((*one, *other), key=lambda p: (_real(p.low), not p.low_closed)):
    last = out[-1] if out else None
    if last is None or _apart(last, piece):
      out.append(piece)
    elif (_real(last.high), last.high_closed) < (_real(piece.high), piece.high_closed):
      out[-1] = Piece(last.low, last.low_closed, piece.high, piece.high_closed)
  return tuple(out)


def _apart(left: Piece, right: Piece) -> bool:
  end, start = _real(left.high), _real(right.low)
  return end < start or (end == start and not (left.high_closed or right.low_closed))


def _intersection(one: Pieces, other: Pieces) -> Pieces:
  out = []
  for a in one:
    for b in other:
      low, low_closed = max(((p.low, p.low_closed) for p in (a, b)), key=lambda e: (_real(e[0]), not e[1]))
      high, high_closed = min(((p.high, p.high_closed) for p in (a, b)), key=lambda e: (_real(e[0]), e[1]))
      start, end = _real(low), _real(high)
      if start < end or (start == end and low_closed and high_closed):
        out.append(Piece(low, low_closed, high, high_closed))
  return tuple(out)


def _difference(one: Pieces, other: Pieces) -> Pieces:
  for gap in _union(other, ()):
    outside = []
    if _is_finite(_real(gap.low)):
      outside.append(Piece(MINUS_INFINITY, False, gap.low, not gap.low_closed))
    if _is_finite(_real(gap.high)):
      outside.append(Piece(gap.high, not gap.high_closed, INFINITY, False))
    one = _intersection(one, tuple(outside))
  return one


def _conditions(one: Pieces, other: Pieces) -> Pieces:
  """Of conditions with a comma between: all hold, unless they exclude each other ('x < -2, x > 3')."""
  return _intersection(one, other) or _union(one, other)
