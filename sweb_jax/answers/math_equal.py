"""Whether an answer to a MATH problem is the gold answer.

An answer is read into a structure (list, set, tuple or interval, union, matrix, equation, inequality) whose leaves
are formulas, words or numbers of another base; structures are compared part by part, leaves by exact value, by value
at fixed points, or as words.

Order: bare lists and sets are compared without order, as lists of solutions are; what stands in ( ) or [ ], with it.
"""

from __future__ import annotations

import dataclasses
import math
import re
from collections.abc import Sequence
from fractions import Fraction

from sweb_jax.answers import latex, structure, values, vocabulary
from sweb_jax.answers.equal import normal_number
from sweb_jax.answers.structure import Leaf, Parts, Relation, Unreadable

EXACT_TOLERANCE = 1e-9
"""Relative, between two values of which at least one is not rational: rounding of floating point only."""

_SHORT_PLACES = 5
"""A decimal of at most so many places is taken at its word; a longer one was computed, and may be rounded."""


@dataclasses.dataclass(frozen=True)
class Policy:
  """What graders differ in. The defaults were chosen to agree with published labels."""

  unreduced_fractions: bool = True
  """Accept 2/4 for 1/2."""
  decimal_tolerance: float = 1e-4
  """Relative, where a decimal stands for a value that it cannot spell (1/3, sqrt 2), or has over 5 places."""
  percent_as_fraction: bool = True
  """Accept 0.5 for 50%, and 50% for 0.5; 50 and 50% are always the same."""
  ordered_lists: bool = False
  """Compare bare lists ('1, 2') in order; sets in braces never are."""
  tuple_as_list: bool = False
  """Accept '1, 2' or {1, 2} for (1, 2), and the reverse, in order."""
  vector_as_tuple: bool = True
  """Accept (1, 2) for a matrix of one column or one row."""
  base_optional: bool = False
  """Accept 11 for 11_4."""
  rounded_gold: bool = False
  """Accept an exact value that rounds to a gold answer written as a decimal: 4 pi for 12.57."""
  rough_pi: bool = False
  """Also read pi as 3.14 where the gold answer is a decimal, as some gold answers were computed."""


def equal(gold: str, answer: str, policy: Policy = Policy()) -> bool:
  """Whether `answer` is right where `gold` is. Never raises on any text, and nothing in it is evaluated as Python.

  False for an empty answer, and for one that exceeds the bounds of `latex`, `expression` and `values`. Identical
  normal forms are equal even where they cannot be parsed.
  """
  if len(gold) > latex.MAX_CHARS or len(answer) > latex.MAX_CHARS:
    return False
  gold, answer = gold.strip(), answer.strip()
  if not gold or not answer:
    return False
  if gold == answer:
    return True
  if (expected := normal_number(gold)) is not None and (number := normal_number(answer)) is not None:
    if expected == number:
      return True
    if '.' not in expected + number and '%' not in gold + answer:
      return False
  try:
    for thousands in (True, False):
      if _same(*(structure.read(text, thousands, math.pi) for text in (gold, answer)), policy, top=True):
        return True
      if not any(re.search(r'[0-9][, ]\s*[0-9]{3}', text) for text in (gold, answer)):
        break
    if policy.rough_pi and re.search(r'\.[0-9]', gold):
      return _same(structure.read(gold, True, math.pi), structure.read(answer, True, 3.14), policy, top=True)
  except (Unreadable, RecursionError):
    pass
  return False


def _same(gold, answer, policy: Policy, top: bool = False) -> bool:
  if isinstance(gold, Leaf) and isinstance(answer, Leaf):
    return _same_leaf(gold, answer, policy)
  if isinstance(gold, Relation) or isinstance(answer, Relation):
    return _same_relation(gold, answer, policy, top)
  for one, other in ((gold, answer), (answer, gold)):
    if isinstance(one, Leaf):
      return (
        other.kind == 'set'
        and len(other.items) == 1
        and _same(*((gold, other.items[0]) if one is gold else (other.items[0], answer)), policy)
      )
  if gold.kind == answer.kind or {gold.kind, answer.kind} == {'list', 'set'}:
    if len(gold.items) != len(answer.items):
      return False
    if (
      gold.kind in ('set', 'union')
      or answer.kind == 'set'
      or (gold.kind in ('list', 'system') and not policy.ordered_lists)
    ):
      return _same_unordered(gold.items, answer.items, policy)
    return _same_in_order(gold.items, answer.items, policy)
  for one, other in ((gold, answer), (answer, gold)):
    if one.kind == 'union' and other.kind == 'list' and all(isinstance(i, Relation) for i in other.items):
      intervals = tuple(_interval(i) for i in other.items)  # 'x < -2 or x > 3'
      return None not in intervals and len(intervals) == len(one.items) and _same_unordered(
        *((one.items, intervals) if one is gold else (intervals, one.items)), policy
      )
    if one.kind == 'matrix' and other.kind == '()' and policy.vector_as_tuple:
      column = one.items[0].items if len(one.items) == 1 else tuple(c for row in one.items for c in row.items)
      if len(one.items) == 1 or all(len(row.items) == 1 for row in one.items):
        pair = (column, other.items) if one is gold else (other.items, column)
        return _same_in_order(*pair, policy)
    if one.kind == '()' and other.kind in ('list', 'set') and policy.tuple_as_list:
      return _same_in_order(gold.items, answer.items, policy)
  return False


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


def _same_relation(gold, answer, policy: Policy, top: bool) -> bool:
  if isinstance(gold, Relation) and isinstance(answer, Relation):
    if gold.label and answer.label:
      if gold.label == answer.label or (top and not gold.difference and not answer.difference):
        return _same(gold.parts[1], answer.parts[1], policy)
      if top and isinstance(gold.parts[1], Leaf) and _constant(gold.parts[1]):
        return _same(gold.parts[1], answer.parts[1], policy)
    if bool(gold.label) != bool(answer.label):  # 'x in [1, 2)' and '1 <= x < 2'.
      named = gold if gold.label else answer
      if isinstance(named.parts[1], Parts):
        pair = (named.parts[1], answer) if named is gold else (gold, named.parts[1])
        return _same(*pair, policy)
    if gold.operators != answer.operators:
      return False
    if _proportional(gold.difference, answer.difference, gold.operators[0] in ('=', r'\neq')):
      return True
    return _same_in_order(gold.parts, answer.parts, policy)
  relation, other = (gold, answer) if isinstance(gold, Relation) else (answer, gold)
  if relation.label:
    pair = (relation.parts[1], answer) if relation is gold else (gold, relation.parts[1])
    return _same(*pair, policy)
  if isinstance(other, Parts) and (interval := _interval(relation)):
    return _same(*((interval, answer) if relation is gold else (gold, interval)), policy)
  return False


def _constant(leaf: Leaf) -> bool:
  return len(leaf.values) == 1


def _interval(relation: Relation) -> Parts | None:
  """1 < x <= 2 as (1, 2]; x < 3 as (-inf, 3). None for any other relation."""
  parts, operators = relation.parts, relation.operators
  if not all(isinstance(p, Leaf) and p.values for p in parts) or not set(operators) <= {'<', r'\le'}:
    return None
  shape = [_constant(p) for p in parts]
  infinity = (
    Leaf(r'\infty', ('infinity',), values=(complex(math.inf),)),
    Leaf(r'-\infty', ('infinity',), values=(complex(-math.inf),)),
  )
  if shape == [True, False, True]:
    return Parts(('[' if operators[0] != '<' else '(') + (']' if operators[1] != '<' else ')'), (parts[0], parts[2]))
  if shape == [False, True]:
    return Parts('(' + (']' if operators[0] != '<' else ')'), (infinity[1], parts[1]))
  if shape == [True, False]:
    return Parts(('[' if operators[0] != '<' else '(') + ')', (parts[0], infinity[0]))
  return None


def _proportional(gold: tuple, answer: tuple, any_sign: bool) -> bool:
  """Whether two differences vanish together because one is a constant times the other; of an inequality, above 0."""
  if not gold or len(gold) != len(answer):
    return False
  ratio = None
  for g, a in zip(gold, answer, strict=True):
    g, a = _complex(g), _complex(a)
    if not g or not a:
      return False
    now = a / g
    if ratio is not None and not abs(now - ratio) <= EXACT_TOLERANCE * abs(ratio):
      return False
    ratio = now
  return any_sign or (ratio.real > 0 and abs(ratio.imag) < EXACT_TOLERANCE)


def _complex(value: values.Value) -> complex:
  try:
    return complex(value)
  except OverflowError:
    return complex(math.inf)


def _same_leaf(gold: Leaf, answer: Leaf, policy: Policy) -> bool:
  if gold.text == answer.text:
    return bool(gold.text)
  if gold.base or answer.base:
    if gold.base and answer.base:
      return gold.base == answer.base
    return policy.base_optional and bool(gold.base) and gold.base[0] == answer.text
  if gold.words or answer.words or gold.node is None or answer.node is None:
    return _same_words(gold, answer)
  if gold.unit and answer.unit and not _same_unit(gold.unit, answer.unit):
    return False
  if not policy.unreduced_fractions and answer.fraction and math.gcd(*answer.fraction) != 1:
    return False
  if not gold.values or not answer.values:
    return gold.node == answer.node
  if len(gold.values) != len(answer.values):  # sin^2 x + cos^2 x is 1.
    one, points = sorted((gold.values, answer.values), key=len)
    return all(_near(one[0], value, EXACT_TOLERANCE) for value in points)
  if len(gold.values) > 1:
    return all(_near(g, a, _tolerance(gold, answer, policy)) for g, a in zip(gold.values, answer.values, strict=True))
  g, a = gold.values[0], answer.values[0]
  if _same_number(gold, g, answer, a, policy):
    return True
  if policy.percent_as_fraction and gold.percent != answer.percent:
    if gold.percent:
      g = g / 100
    else:
      a = a / 100
    return _same_number(gold, g, answer, a, policy)
  return False


def _same_words(gold: Leaf, answer: Leaf) -> bool:
  """Words are the same without case, spaces, brackets and full stops; formulas that are not read differ by now."""
  if not (gold.words or answer.words):
    return False
  plain = [re.sub(r'["\'\s().]', '', leaf.text).casefold() for leaf in (gold, answer)]
  return bool(plain[0]) and plain[0] == plain[1]


def _same_unit(gold: str, answer: str) -> bool:
  """Units that are known on both sides must agree; others are taken for comments."""
  names = [{u for word in text.split() if (u := vocabulary.unit(word))} for text in (gold, answer)]
  names = [{'mph'} if found == {'mile', 'hour'} else found for found in names]
  return not names[0] or not names[1] or names[0] == names[1]


def _same_number(gold: Leaf, g: values.Value, answer: Leaf, a: values.Value, policy: Policy) -> bool:
  if isinstance(g, Fraction) and isinstance(a, Fraction):
    if g == a:
      return True
    if max(gold.decimals, answer.decimals) < 0:
      return False
    if _short(g) and _short(a):
      return False
    return _near(g, a, _tolerance_of(g, gold, a, policy))
  if _near(g, a, EXACT_TOLERANCE):
    return True
  if gold.decimals < 0 and answer.decimals < 0:
    return False
  return _near(g, a, _tolerance_of(g, gold, a, policy))


def _tolerance_of(g: values.Value, gold: Leaf, a: values.Value, policy: Policy) -> float:
  if policy.rounded_gold and gold.decimals >= 0 and _complex(g):
    return max(policy.decimal_tolerance, 0.5 * 10.0**-gold.decimals / abs(_complex(g)))
  # A whole number is no rounded value: 1.9999999 is 2 but for noise, 10000.3 is not 10000.
  whole = any(isinstance(v, Fraction) and v.denominator == 1 for v in (g, a))
  return min(policy.decimal_tolerance, 1e-6) if whole else policy.decimal_tolerance


def _short(value: Fraction) -> bool:
  return 10**_SHORT_PLACES % value.denominator == 0


def _tolerance(gold: Leaf, answer: Leaf, policy: Policy) -> float:
  long = max(gold.decimals, answer.decimals) > _SHORT_PLACES
  return policy.decimal_tolerance if long else EXACT_TOLERANCE


def _near(gold: values.Value, answer: values.Value, tolerance: float) -> bool:
  if gold == answer:
    return True
  g, a = _complex(gold), _complex(answer)
  size = max(abs(g), abs(a))
  return math.isfinite(size) and abs(g - a) <= max(tolerance * size, 1e-12 if tolerance <= EXACT_TOLERANCE else 0.0)
