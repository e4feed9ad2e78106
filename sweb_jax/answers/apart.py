"""Keys by which answers are told apart without being compared: two that share no key are not equal.

Among n answers the equal ones are then found by about n comparisons, and not by one of every two. A key is coarse:
answers that share one may differ, and `math_equal` decides. Values lie in overlapping ranges, wider than any tolerance
of `same_leaf.Policy`'s defaults; an answer is in both ranges that hold it, so two that are near share one.
"""

from __future__ import annotations

import math
import re
from collections.abc import Hashable, Iterable

from sweb_jax.answers import expression, latex, markup, regions, structure
from sweb_jax.answers.equal import normal_number
from sweb_jax.answers.parts import Leaf, Parts, Relation
from sweb_jax.answers.same_leaf import plain_words
from sweb_jax.answers.structure import Unreadable
from sweb_jax.answers.values import complex_value

Keys = frozenset[Hashable]

_SMALL = 1e-6
"""Below this size values are apart by their difference, and no longer by their ratio."""

_WIDTH = 0.01
"""Of a range of values, on the scale of their logarithm; `near` allows 1e-4, and 1e-9 / _SMALL."""

_POINTS = range(3)
"""Formulas that are the same are near at two of four points at least (`same_leaf.same_values`): at one of three."""

_VECTORS = expression.UNIT_VECTORS | {'j', 'k'}
"""A formula with these may be a vector, (1, 2) as i + 2j, which its own values do not show."""


def keys(text: str) -> Keys | None:
  """The keys of an answer to a MATH problem; None where it has to be compared with every other.

  For the default `Policy` alone. Never raises on any text.
  """
  if len(text) > latex.MAX_CHARS:
    return frozenset()
  text = markup.bare(text)
  found: set[Hashable] = {text, ('number', normal_number(text) or text)} if text else set()
  try:
    for thousands in (True, False):
      read = _of(structure.read(text, thousands, math.pi))
      if read is None:
        return None
      found |= read
      if not re.search(r'[0-9].*[0-9]{3}', text, re.DOTALL):  # It is read alike.
        break
  except Unreadable:
    pass
  except RecursionError:
    return None
  return frozenset(found)


def _of(read: Leaf | Parts | Relation) -> set[Hashable] | None:
  if isinstance(read, Leaf):
    return _of_leaf(read)
  if isinstance(read, Relation):
    found = _of(read.parts[1]) if read.label else None
    if found is None:
      return None
    found |= _proportion(read)
  else:
    leaves = _constants(read)
    if leaves is None:
      return None
    found = _largest(leaves)
  if (region := regions.region(read)) is not None:
    ends = [end for piece in region.pieces for end in (piece.low, piece.high)]
    if any(end.percent for end in ends):
      return None
    found |= _largest(ends)
  return found


def _of_leaf(leaf: Leaf) -> set[Hashable] | None:
  if leaf.node is not None and not leaf.constant and expression.names(leaf.node) & _VECTORS:
    return None
  found: set[Hashable] = {('words', plain_words(leaf))}
  if leaf.node is not None and not leaf.values:
    found.add(leaf.node)
  for point in _POINTS if leaf.values else ():
    size = abs(complex_value(leaf.values[0 if leaf.constant else point]))
    found |= _ranges(point, size)
    if leaf.percent:
      found |= _ranges(point, size / 100)
  return found


def _constants(read: Leaf | Parts | Relation) -> list[Leaf] | None:
  """The leaves of a structure; None where not all of them are plain constants."""
  if isinstance(read, Leaf):
    return [read] if read.constant and not (read.words or read.base or read.percent) else None
  found: list[Leaf] = []
  for item in read.items if isinstance(read, Parts) else ():
    if (leaves := _constants(item)) is None:
      return None
    found += leaves
  return found if isinstance(read, Parts) else None


def _largest(leaves: Iterable[Leaf]) -> set[Hashable]:
  """The keys of the largest finite constant: in whatever order and brackets they stand, it is the same."""
  sizes = [abs(complex_value(leaf.values[0])) for leaf in leaves]
  size = max((size for size in sizes if math.isfinite(size)), default=math.inf)
  return set().union(*(_ranges(point, size) for point in _POINTS))


def _proportion(relation: Relation) -> set[Hashable]:
  """Two equations are one where their differences are: so is the ratio of each at two points."""
  sizes = [abs(complex_value(value)) for value in relation.difference]
  if not sizes or not all(0 < size < math.inf for size in sizes):
    return set()
  ratio = sizes[1] / sizes[0]
  return _ranges('ratio', ratio)


def _ranges(kind: Hashable, size: float) -> set[Hashable]:
  """Both ranges that hold a size."""
  if not math.isfinite(size):
    return {(kind, size)}
  place = math.asinh(size / _SMALL) / _WIDTH
  return {(kind, math.floor(place), 'low'), (kind, math.floor(place + 0.5), 'high')}
