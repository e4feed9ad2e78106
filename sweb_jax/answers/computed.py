"""Comparison with gold answers that came out of floating-point arithmetic, as those of Functional MATH did.

Some have 15 digits, some were rounded to two or three places without the problem saying so, and some were computed with
pi = 3.14.
"""

from __future__ import annotations

import math
import re

from sweb_jax.answers.equal import normal_number
from sweb_jax.answers.latex import MAX_CHARS
from sweb_jax.answers.math_equal import Policy, equal

ROUNDING = 0.005
"""A decimal gold answer is met within this, or this share of it where that is less: half a unit of the second place."""

ROUGH_PI = 1.1e-3
"""The share instead where the problem speaks of pi: 3.14 ** 2 is 1.01e-3 below pi ** 2."""

_DECIMAL = re.compile(r'[0-9]*\.[0-9]+')
_FRACTION = re.compile(r'(-?)(?:\\[dt]?frac\{([0-9]{1,18})\}\{([0-9]{1,18})\}|([0-9]{1,18})/([0-9]{1,18}))')
_PI = re.compile(r'\\pi(?![a-z])')


def tolerance(gold: str, problem: str) -> float:
  """How far from the gold answer a right one may be, as a share of it; 0 where the gold has no decimal point.

  Gold answers without a decimal point, and those in another base ('0.11_{2}'), are exact. `problem` is the text of the
  problem, '' where it is not known: then pi is not known to be meant.
  """
  decimals = [float(n) for n in _DECIMAL.findall(gold)]
  if not decimals or '_' in gold:
    return 0.0
  share = ROUNDING / max(1.0, *decimals)
  return max(share, ROUGH_PI) if _PI.search(problem) else share


def same(gold: str, answer: str, problem: str = '') -> bool:
  """Whether `answer` equals `gold`, within `tolerance` where the gold answer is a decimal; pi may be 3.14 there."""
  # Votes compare answers of a model with each other: either side may be long.
  if max(len(gold), len(answer)) > MAX_CHARS:
    return False
  share = tolerance(gold, problem)
  if not share:
    return equal(gold, answer)
  if equal(gold, answer, Policy(decimal_tolerance=share, rounded_gold=True, rough_pi=True)):
    return True
  # To `equal`, two values that decimals can spell are never near: 1.375 and 11/8 are not 1.38.
  expected, found = _value(gold), _value(answer)
  if expected is None or found is None:
    return False
  return math.isclose(expected, found, rel_tol=0, abs_tol=share * abs(expected) + 1e-12)


def _value(text: str) -> float | None:
  """The number of a plain decimal ('\\$1.38', '-2') or of a plain fraction ('\\frac{11}{8}', '11/8')."""
  text = text.strip().replace('\\$', '$')
  if fraction := _FRACTION.fullmatch(text):
    sign, *parts = fraction.groups()
    above, below = (int(p) for p in parts if p is not None)
    return None if not below else (-1 if sign else 1) * above / below
  number = normal_number(text)
  return None if number is None else float(number)
