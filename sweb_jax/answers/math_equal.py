"""Whether an answer to a MATH problem is the gold answer.

An answer is read into a structure (list, set, tuple or interval, union, matrix, equation, inequality) whose leaves
are formulas, words or numbers of another base. Sets of reals are compared as sets, other structures part by part,
leaves by exact value, by value at fixed points, or as words (`same_leaf`).

Order: bare lists and sets are compared without order, as lists of solutions are; what stands in ( ) or [ ], with it.
"""

from __future__ import annotations

import cmath
import math
import re
from collections.abc import Sequence

from sweb_jax.answers import labels, latex, markup, matrices, regions, structure
from sweb_jax.answers.equal import normal_number
from sweb_jax.answers.parts import Leaf, Parts, Relation
from sweb_jax.answers.same_leaf import EXACT_TOLERANCE, Policy, same_leaf, same_values
from sweb_jax.answers.structure import Unreadable
from sweb_jax.answers.values import complex_value

__all__ = ['EXACT_TOLERANCE', 'Policy', 'equal']

_DEFAULT = Policy()


def equal(gold: str, answer: str, policy: Policy = _DEFAULT) -> bool:
  """Whether `answer` is right where `gold` is. Never raises on any text, and nothing in it is evaluated as Python.

  Reflexive for texts that are not empty, and symmetric but for `Policy.unreduced_fractions`, `base_optional` and
  `rounded_gold`; not transitive (docs/grading.md). False for an empty answer, and for one that exceeds the bounds of
  `latex`, `expression` and `values`. Identical normal forms are equal even where they cannot be parsed.
  """
  if len(gold) > latex.MAX_CHARS or len(answer) > latex.MAX_CHARS:
    return False
  gold, answer = markup.bare(gold), markup.bare(answer)
  if not gold or not answer:
    return False
  if gold == answer:
    return True
  if (expected := normal_number(gold)) is not None and (number := normal_number(answer)) is not None:
    money = [{sign for sign in '$€£' if sign in text} for text in (gold, answer)]
    if expected == number:
      return not all(money) or money[0] == money[1]
    if '.' not in expected + number and '%' not in gold + answer:
      return False
  try:
    for thousands in (True, False):
      if _same(*(structure.read(text, thousands, math.pi) for text in (gold, answer)), policy):
        return True
      if not any(re.search(r'[0-9][, ]\s*[0-9]{3}', text) for text in (gold, answer)):
        break
    if policy.rough_pi and re.search(r'\.[0-9]', gold):
      return _same(structure.read(gold, True, math.pi), structure.read(answer, True, 3.14), policy)
  except (Unreadable, RecursionError):
    pass
  return False


def _same(gold, answer, policy: Policy) -> bool:
  if isinstance(gold, Leaf) and isinstance(answer, Leaf):
    return same_leaf(gold, answer, policy)
  if regions.is_region(gold) or regions.is_region(answer):
    sets = regions.region(gold), regions.region(answer)
    if None not in sets:
      return regions.same_region(*sets, lambda one, other: same_leaf(one, other, policy))
  if isinstance(gold, Relation) or isinstance(answer, Relation):
    return _same_relation(gold, answer, policy)
  for one, other in ((gold, answer), (answer, gold)):
    if isinstance(one, Leaf):
      if other.kind == 'set' and len(other.items) == 1:
        return _same(*_turned(gold, one, one, other.items[0]), policy)
      return _same_vector(other, one, policy)
  if gold.kind == answer.kind or {gold.kind, answer.kind} == {'list', 'set'}:
    if len(gold.items) != len(answer.items):
      return False
    free = ('set', 'union', 'intersection', 'and', 'or', 'system', *(() if policy.ordered_lists else ('list',)))
    if gold.kind in free or answer.kind == 'set':
      return _same_unordered(gold.items, answer.items, policy)
    return _same_in_order(gold.items, answer.items, policy)
  for one, other in ((gold, answer), (answer, gold)):
    if one.kind == 'matrix' and other.kind in ('()', '[]'):
      return _same_rows(gold, answer, policy)
    if one.kind == '()' and other.kind in ('list', 'set') and policy.tuple_as_list:
      return _same_in_order(gold.items, answer.items, policy)
  return False


def _turned(gold, left, one, other) -> tuple:
  """(one, other), turned round where `left`, which belongs to `one`, is not the gold answer."""
  return (one, other) if left is gold else (other, one)


def _same_rows(gold: Parts, answer: Parts, policy: Policy) -> bool:
  """A matrix of one row or column and a tuple, or a matrix and a list of lists."""
  matrix, other = (gold, answer) if gold.kind == 'matrix' else (answer, gold)
  if all(isinstance(row, Parts) and row.kind in ('[]', '()') for row in other.items):
    rows = tuple(Parts('row', row.items) for row in other.items)
    return _same_in_order(*_turned(gold, matrix, matrix.items, rows), policy)
  if not policy.vector_as_tuple or (len(matrix.items) > 1 and any(len(row.items) > 1 for row in matrix.items)):
    return False
  cells = tuple(cell for row in matrix.items for cell in row.items)
  return _same_in_order(*_turned(gold, matrix, cells, other.items), policy)


def _same_vector(parts: Parts, leaf: Leaf, policy: Policy) -> bool:
  """A column, row or tuple and a sum of multiples of the unit vectors: i + 2j."""
  if not policy.vector_as_tuple or parts.kind not in ('matrix', '()'):
    return False
  cells = parts.items
  if parts.kind == 'matrix':
    if len(cells) > 1 and any(len(row.items) > 1 for row in cells):
      return False
    cells = tuple(cell for row in cells for cell in row.items)
  found = matrices.coordinates(leaf, len(cells), math.pi)
  return found is not None and all(
    isinstance(cell, Leaf) and cell.constant and same_values(cell.values, (value,), EXACT_TOLERANCE)
    for cell, value in zip(cells, found, strict=True)
  )


def _same_in_order(golds: Sequence, answers: Sequence, policy: Policy) -> bool:
  return len(golds) == len(answers) and all(_same(g, a, policy) for g, a in zip(golds, answers, strict=True))


def _same_unordered(golds: Sequence, answers: Sequence, policy: Policy) -> bool:
  left = list(answers)
  for gold in golds:
    found = next((i for i, a in enumerate(left) if _same(gold, a, policy)), None)
    if found is None:
      return False
    left.pop(found)
  return True


def _same_relation(gold, answer, policy: Policy) -> bool:
  if isinstance(gold, Relation) and isinstance(answer, Relation):
    if _proportional(gold, answer):
      return True
    if gold.label and answer.label:
      return labels.same_thing(gold.label, answer.label) and _same(gold.parts[1], answer.parts[1], policy)
    return gold.operators == answer.operators and _same_in_order(gold.parts, answer.parts, policy)
  relation, other = (gold, answer) if isinstance(gold, Relation) else (answer, gold)
  return bool(relation.label) and _same(*_turned(gold, relation, relation.parts[1], other), policy)


def _proportional(gold: Relation, answer: Relation) -> bool:
  """Whether two differences vanish together because one is a constant times the other; of an inequality, above 0."""
  if not gold.difference or len(gold.difference) != len(answer.difference) or gold.operators != answer.operators:
    return False
  ratio = None
  for g, a in zip(gold.difference, answer.difference, strict=True):
    g, a = complex_value(g), complex_value(a)
    if not g or not a or not cmath.isfinite(g) or not cmath.isfinite(a):
      return False
    now = a / g
    if ratio is not None and not abs(now - ratio) <= EXACT_TOLERANCE * abs(ratio):
      return False
    ratio = now
  return gold.operators[0] in ('=', r'\neq') or (ratio.real > 0 and abs(ratio.imag) < EXACT_TOLERANCE)
