"""Sums, multiples and transposes of matrices, worked out cell by cell; vectors in terms of i, j and k."""

from __future__ import annotations

from collections.abc import Sequence
from fractions import Fraction

from sweb_jax.answers import expression, latex, values
from sweb_jax.answers.parts import Leaf

MAX_CELLS = 64
"""Of a matrix that is worked out."""

Cells = list[list[tuple[str, ...]]]
"""Rows of cells, each the tokens of a formula."""

_UNITS = tuple(rf'\vec{name}' for name in 'ijk')


def cells(found: Sequence[str]) -> Cells | None:
  """The cells of a sum of multiples of matrices and transposes, '\\frac12 A - B^T'; None for anything else."""
  total: Cells | None = None
  for sign, term in _terms(found):
    one = _multiple(sign, term)
    if one is None or sum(map(len, one)) > MAX_CELLS:
      return None
    if total is None:
      total = one
    elif [len(row) for row in total] != [len(row) for row in one]:
      return None
    else:
      pairs = zip(total, one, strict=True)
      total = [[('(', *a, ')', '+', '(', *b, ')') for a, b in zip(*rows, strict=True)] for rows in pairs]
  return total


def rows(inner: Sequence[str]) -> Cells:
  """The cells between the brackets of a matrix; a last row that is empty is none."""
  return [_split(row, '&') for row in _split(inner, '\\\\') if row]


def coordinates(leaf: Leaf, size: int, pi: float) -> tuple[values.Value, ...] | None:
  """The `size` coordinates of a sum of multiples of the unit vectors, 'i + 2j', or None where it is none.

  Letters i, j, k in a plain font are the unit vectors where j or k is among them.
  """
  if leaf.node is None or size not in (2, 3):
    return None
  node = leaf.node
  names = expression.names(node)
  if not names & set(_UNITS):
    if not names or not names <= {'j', 'k'}:
      return None
    node = _plain(node)
    names = expression.names(node)
  if not names <= set(_UNITS[:size]):
    return None
  try:
    if values.evaluate(_at(node, ()), 0, pi) != 0:
      return None
    found = tuple(values.evaluate(_at(node, (name,)), 0, pi) for name in _UNITS[:size])
    # Of a sum of multiples, the value at (1, 1, 1) is the sum of the coordinates, and twice that at (2, 2, 2).
    once, twice = (complex(values.evaluate(_at(node, _UNITS, n), 0, pi)) for n in (1, 2))
  except values.Unbounded:
    return None
  linear = abs(sum(map(complex, found)) - once) <= 1e-9 * abs(once) and abs(twice - 2 * once) <= 1e-9 * abs(twice)
  return found if linear else None


def _plain(node):
  """With the letters i, j and k for the unit vectors."""
  if node == ('number', 1j):
    return ('name', _UNITS[0])
  if node[0] == 'name' and node[1] in 'jk':
    return ('name', rf'\vec{node[1]}')
  return tuple(_plain(part) if isinstance(part, tuple) else part for part in node)


def _at(node, ones: Sequence[str], size: int = 1):
  """With `size` for the names of `ones`, and 0 for the other unit vectors."""
  if node[0] == 'name' and node[1] in _UNITS:
    return ('number', Fraction(size if node[1] in ones else 0))
  return tuple(_at(part, ones, size) if isinstance(part, tuple) else part for part in node)


def _split(found: Sequence[str], separator: str) -> list[tuple[str, ...]]:
  pieces, start, depth = [], 0, 0
  for i, token in enumerate(found):
    depth += (token in latex.OPENING) - (token in latex.CLOSING)
    if not depth and token == separator:
      pieces.append(tuple(found[start:i]))
      start = i + 1
  return [*pieces, tuple(found[start:])]


def _terms(found: Sequence[str]) -> list[tuple[str, tuple[str, ...]]]:
  """(sign, tokens) of the terms of a sum."""
  out, sign, start, depth = [], '+', 0, 0
  for i, token in enumerate(found):
    depth += (token in latex.OPENING) - (token in latex.CLOSING)
    if not depth and token in ('+', '-') and (i == start or found[i - 1] not in ('*', '/', '^', '_')):
      if i > start:
        out.append((sign, tuple(found[start:i])))
        sign = '+'
      sign = '-' if (token == '-') != (sign == '-') else '+'
      start = i + 1
  return [*out, (sign, tuple(found[start:]))]


def _multiple(sign: str, found: tuple[str, ...]) -> Cells | None:
  """The cells of one matrix with formulas before or after it."""
  start = next((i for i, t in enumerate(found) if t == 'matrix(' or _is_vector(found, i)), None)
  if start is None:
    return None
  end = _end(found, start)
  inner = found[start + 1 : end - 1]
  listed = found[start] != 'matrix('
  grid = [[cell] for cell in _split(inner, ',')] if listed else rows(inner)
  if not grid or any(len(row) != len(grid[0]) for row in grid):
    return None
  before, after = found[:start], found[end:]
  while before and after and before[-1] + after[0] in ('()', '[]', '{}'):
    before, after = before[:-1], after[1:]
  if _transposed(after):
    grid = grid if listed else [list(column) for column in zip(*grid, strict=True)]
    after = after[2:]
  if after[:1] == ('/',):
    before, after = (*before, *(() if before else ('1',)), *after), ()
  elif after[:1] == ('*',):
    after = after[1:]
  if before[-1:] == ('*',):
    before = before[:-1]
  factor = (*before, *(('*',) if before and after else ()), *after)
  try:
    if factor:
      expression.parse(factor)
  except expression.ParseError:
    return None
  scale = (*(('-',) if sign == '-' else ()), *(('(', *factor, ')', '*') if factor else ()))
  return [[(*scale, '(', *cell, ')') if scale else cell for cell in row] for row in grid]


def _is_vector(found: tuple[str, ...], i: int) -> bool:
  """Whether a bracketed list begins here that is transposed, or is added or multiplied with a number."""
  if found[i] not in ('(', '['):
    return False
  end = _end(found, i)
  before = found[i - 1] if i else '*'
  return ',' in found[i:end] and (_transposed(found[end:]) or before in ('*', '}', ')') or before[-1].isdigit())


def _transposed(found: tuple[str, ...]) -> bool:
  return found[:1] == ('^',) and found[1:2] in (('T',), ('t',), (r'\top',))


def _end(found: Sequence[str], start: int) -> int:
  """The place after the bracket that closes the one at `start`."""
  depth = 0
  for i in range(start, len(found)):
    depth += (found[i] in latex.OPENING) - (found[i] in latex.CLOSING)
    if not depth:
      return i + 1
  return len(found)
