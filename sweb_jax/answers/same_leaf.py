"""Whether two leaves of answers are the same: numbers, formulas with names, words, numbers of another base."""

from __future__ import annotations

import dataclasses
import math
import re
from fractions import Fraction

from sweb_jax.answers.parts import Leaf
from sweb_jax.answers.values import Value, complex_value

EXACT_TOLERANCE = 1e-9
"""Relative, between two values of which at least one is not rational: rounding of floating point only."""

_SPELLED_PLACES = 5
"""A decimal of at most so many places is taken at its word; a longer one was computed, and may be rounded."""


@dataclasses.dataclass(frozen=True)
class Policy:
  """What graders differ in. The defaults were chosen to agree with published labels."""

  unreduced_fractions: bool = True
  """Accept 2/4 for 1/2."""
  decimal_digits: int = 5
  """Significant digits, without zeros at the end, of a decimal that may stand for a value that it cannot spell."""
  decimal_tolerance: float = 1e-4
  """Relative: how far such a decimal may be from the value, and no further than one unit of its last place."""
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
  """Accept an exact value that rounds to a gold answer written as a decimal, 4 pi for 12.57; any number of digits."""
  rough_pi: bool = False
  """Also read pi as 3.14 where the gold answer is a decimal, as some gold answers were computed."""


def same_leaf(gold: Leaf, answer: Leaf, policy: Policy) -> bool:
  """Whether two leaves are the same under a policy."""
  if gold.text == answer.text:
    return bool(gold.text)
  if gold.base or answer.base:
    if gold.base and answer.base:
      return gold.base == answer.base
    return policy.base_optional and bool(gold.base) and gold.base[0] == answer.text
  if gold.words or answer.words or gold.node is None or answer.node is None:
    return _same_words(gold, answer)
  if not _same_dimension(gold, answer):
    return False
  if not policy.unreduced_fractions and answer.fraction and math.gcd(*answer.fraction) != 1:
    return False
  if not gold.values or not answer.values:
    return gold.node == answer.node
  if not (gold.constant and answer.constant):
    return same_values(gold.values, answer.values, _formula_tolerance(gold, answer, policy))
  if _same_number(gold, answer, policy):
    return True
  if policy.percent_as_fraction and gold.percent != answer.percent:
    return _same_number(_hundredth(gold), _hundredth(answer), policy)
  return False


def same_values(gold: tuple[Value, ...], answer: tuple[Value, ...], tolerance: float) -> bool:
  """Whether two formulas have the same values at the fixed points, of which a constant has one for all.

  Where both are real at two points or more, only these count: roots and logarithms are meant there, and elsewhere
  which of their values is taken is a matter of convention.
  """
  size = max(len(gold), len(answer))
  pairs = list(zip(*(v * size if len(v) == 1 else v for v in (gold, answer)), strict=True))
  real = [pair for pair in pairs if all(map(_is_real, pair))]
  return all(near(g, a, tolerance) for g, a in (real if len(real) > 1 else pairs))


def near(gold: Value, answer: Value, tolerance: float) -> bool:
  """Whether two values differ by no more than a relative tolerance, or by what rounding can have made of them."""
  if gold == answer:
    return True
  g, a = complex_value(gold), complex_value(answer)
  size = max(abs(g), abs(a))
  rounding = 4 * sum(getattr(v, 'error', 0.0) for v in (gold, answer))
  return math.isfinite(size) and abs(g - a) <= max(tolerance * size, min(rounding, EXACT_TOLERANCE))


def _is_real(value: Value) -> bool:
  return isinstance(value, Fraction) or (
    not value.branch and abs(complex(value).imag) <= EXACT_TOLERANCE * abs(complex(value))
  )


def _same_words(gold: Leaf, answer: Leaf) -> bool:
  """Words are the same without case, spaces, brackets and full stops; formulas that are not read differ by now."""
  if not (gold.words or answer.words):
    return False
  return bool(plain_words(gold)) and plain_words(gold) == plain_words(answer)


def plain_words(leaf: Leaf) -> str:
  """What of a leaf counts where it is words."""
  return re.sub(r'["\'\s().]', '', leaf.text).casefold()


def _same_dimension(gold: Leaf, answer: Leaf) -> bool:
  """Units that are known on both sides must agree; others are comments. A degree may be of angle or temperature."""
  g, a = ({'percent': 1} if leaf.percent else dict(leaf.dimension) for leaf in (gold, answer))
  if not g or not a or g == a:
    return True
  return any(one == {'degree': 1} and set(other) <= {'celsius', 'fahrenheit'} for one, other in ((g, a), (a, g)))


def _same_number(gold: Leaf, answer: Leaf, policy: Policy) -> bool:
  """The rule for decimals of docs/grading.md."""
  g, a = gold.values[0], answer.values[0]
  exact = isinstance(g, Fraction) and isinstance(a, Fraction)
  if g == a or (not exact and near(g, a, EXACT_TOLERANCE)):
    return True
  decimals = [leaf for leaf in (gold, answer) if leaf.places >= 0]
  if not decimals or (exact and _spelled(g) and _spelled(a)):
    return False
  if policy.rounded_gold:
    return near(g, a, _rounded(gold, answer, policy))
  coarse = max(decimals, key=_last_place)
  if coarse.digits < policy.decimal_digits:
    return False
  size = max(abs(complex_value(v)) for v in (g, a))
  # A tenth more: one unit is often what lies between, and floating point may say a little over one.
  return bool(size) and near(g, a, min(policy.decimal_tolerance, 1.1 * _last_place(coarse) / size))


def _rounded(gold: Leaf, answer: Leaf, policy: Policy) -> float:
  """The relative tolerance about a decimal gold answer that was rounded; whole numbers were not."""
  g, a = gold.values[0], answer.values[0]
  if gold.places >= 0 and complex_value(g):
    return max(policy.decimal_tolerance, 0.5 * 10.0**-gold.places / abs(complex_value(g)))
  whole = any(isinstance(v, Fraction) and v.denominator == 1 for v in (g, a))
  return min(policy.decimal_tolerance, 1e-6) if whole else policy.decimal_tolerance


def _last_place(leaf: Leaf) -> float:
  """One unit of the last place of a decimal; of a formula with decimals, what that is of its value."""
  if leaf.single:
    return 10.0 ** -(leaf.places + 2 * leaf.hundredths)
  return abs(complex_value(leaf.values[0])) * 10.0 ** (1 - leaf.digits)


def _spelled(value: Fraction) -> bool:
  return 10**_SPELLED_PLACES % value.denominator == 0


def _formula_tolerance(gold: Leaf, answer: Leaf, policy: Policy) -> float:
  decimals = [leaf.digits for leaf in (gold, answer) if leaf.places >= 0]
  rounded = bool(decimals) and min(decimals) >= policy.decimal_digits
  return policy.decimal_tolerance if rounded or (decimals and policy.rounded_gold) else EXACT_TOLERANCE


def _hundredth(leaf: Leaf) -> Leaf:
  """The leaf as a share of one, where it is in percent."""
  if not leaf.percent:
    return leaf
  value = leaf.values[0]
  value = value / 100 if isinstance(value, Fraction) else dataclasses.replace(value, value=value.value / 100)
  return dataclasses.replace(leaf, values=(value,), hundredths=True)
