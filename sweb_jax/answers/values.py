"""The value of a parsed formula: exact where it is rational, else in floating point, with names at fixed points.

A value in floating point carries a bound of its rounding error, so that 0 and sin(pi) can be told to be the same, and
two values of the size 1e-30 to differ.

This is the module's own arithmetic. No formula can make it large or slow: the size of every exact number, and the work
of all of them together, are bounded before each step.
"""

from __future__ import annotations

import cmath
import dataclasses
import math
import operator
import zlib
from collections.abc import Callable
from fractions import Fraction

from sweb_jax.answers.expression import TRIGONOMETRIC, Node

MAX_BITS = 24_000
"""Of a numerator or a denominator: a value of more than about 7,000 digits is not computed."""

MAX_WORK = 200_000
"""Bits that the exact arithmetic of one formula may touch."""

POINTS = 4
"""How many values of the names a formula with names is evaluated at."""

_EPSILON = 2.0**-52


@dataclasses.dataclass(frozen=True, slots=True)
class Approximate:
  """A value in floating point."""

  value: complex
  error: float
  """About how far from the exact value rounding may have carried it; 0 for infinities."""
  branch: bool = False
  """A root or a logarithm of a negative number is in it, of which the principal one was taken."""

  def __complex__(self) -> complex:
    return complex(self.value)


Value = Fraction | Approximate


class Unbounded(ArithmeticError):
  """The value is too large to compute, or there is none."""


def evaluate(node: Node, point: int = 0, pi: float = math.pi) -> Value:
  """The value with the names at fixed point number `point`; a Fraction where it is exactly rational.

  Raises Unbounded where it is too large to compute or is not defined.
  """
  try:
    evaluation = _Evaluation(point, pi)
    value = evaluation.value(node)
  except (ArithmeticError, ValueError, TypeError) as e:
    raise Unbounded(str(e)) from e
  if evaluation.branch and isinstance(value, Approximate):
    value = dataclasses.replace(value, branch=True)
  if isinstance(value, Approximate) and cmath.isnan(value.value):
    raise Unbounded('no number')
  return value


def _apply(function: Callable[..., complex], *arguments: Value) -> Approximate:
  """`function` in floating point. The error is what the errors of the arguments change, and the last digit."""
  numbers = [a.value if isinstance(a, Approximate) else _number(a) for a in arguments]
  value = function(*numbers)
  if not cmath.isfinite(value):
    return Approximate(value, 0.0)
  error = _EPSILON * abs(value)
  for i, argument in enumerate(arguments):
    step = argument.error if isinstance(argument, Approximate) else 0.0
    if step:
      try:
        moved = abs(function(*numbers[:i], numbers[i] + step, *numbers[i + 1 :]) - value)
      except (ArithmeticError, ValueError):
        moved = math.inf
      error += moved
  return Approximate(value, error)


class _Evaluation:
  def __init__(self, point: int, pi: float):
    self.point = point
    self.pi = pi
    self.work = 0
    self.branch = False

  def charge(self, *values: Value) -> None:
    bits = 0
    for v in values:
      if isinstance(v, Fraction):
        bits += v.numerator.bit_length() + v.denominator.bit_length()
    self.work += bits
    if bits > 2 * MAX_BITS or self.work > MAX_WORK:
      raise Unbounded('too much exact arithmetic')

  def value(self, node: Node, trigonometric: bool = False) -> Value:
    kind = node[0]
    if kind == 'number':
      return node[1] if isinstance(node[1], Fraction) else Approximate(node[1], _EPSILON)
    if kind == 'name':
      return Approximate(fixed_value(node[1], self.point), 0.0)
    if kind == 'pi':
      return Approximate(self.pi, 4 * _EPSILON)
    if kind == 'infinity':
      return Approximate(math.inf, 0.0)
    if kind == 'call':
      return self.call(*node[1:])
    if kind == 'degrees':
      value = self.value(node[1])
      return self.times(value, Approximate(math.pi / 180, _EPSILON / 16)) if trigonometric else value
    values = [self.value(child, trigonometric) for child in node[1:] if isinstance(child, tuple)]
    self.charge(*values)
    if kind == '+':
      total = values[0]
      for value in values[1:]:
        if _exact(total, value):
          self.charge(total, value)
          total = total + value
        else:
          total = _apply(operator.add, total, value)
      return total
    if kind == '*':
      total = values[0]
      for value in values[1:]:
        if _exact(total, value):
          self.charge(total, value)
          total = total * value
        else:
          total = self.times(total, value)
      return total
    if kind == '-':
      return -values[0] if _exact(*values) else Approximate(-values[0].value, values[0].error)
    if kind == 'inverse':
      return 1 / values[0] if _exact(*values) else _apply(lambda v: 1 / v, *values)
    if kind == '^':
      return self.power(values[0], values[1])
    if kind == 'root':
      return self.root(values[0], node[2])
    if kind == 'factorial':
      return self.factorial(values[0])
    if kind == 'binomial':
      return self.binomial(values[0], values[1])
    if kind == 'abs':
      return abs(values[0]) if _exact(*values) else _apply(abs, *values)
    if kind in ('lfloor', 'lceil'):
      value = values[0] if isinstance(values[0], Fraction) else _real(values[0])
      return Fraction(math.floor(value) if kind == 'lfloor' else math.ceil(value))
    raise Unbounded(kind)

  @staticmethod
  def times(one: Value, other: Value) -> Value:
    if _exact(one, other):
      return one * other
    product = _apply(operator.mul, one, other)
    if not product.value and _number(one) and _number(other):
      raise Unbounded('too small')
    return product

  def power(self, base: Value, exponent: Value) -> Value:
    if isinstance(base, Fraction) and isinstance(exponent, Fraction):
      if exponent.denominator == 1:
        bits = max(base.numerator.bit_length(), base.denominator.bit_length())
        if abs(exponent) * bits > MAX_BITS and abs(base) != 1 and base:
          raise Unbounded('too large a power')
        self.work += int(abs(exponent)) * bits if abs(base) != 1 and base else 0
        if abs(base) == 1:
          return base if exponent.numerator % 2 else Fraction(1)
        return base ** int(exponent) if base or exponent >= 0 else 1 / base
      if exponent.denominator <= 64:
        root = self.root(base, Fraction(exponent.denominator))
        return self.power(root, Fraction(exponent.numerator))
    if isinstance(exponent, Fraction) and exponent.denominator == 1 and abs(exponent) < 1000:
      return _apply(lambda b: b ** int(exponent), base)
    if _number(base) == 0:
      return Fraction(0) if _real(exponent) > 0 else 1 / Fraction(0)
    self.branch |= _negative(base)
    return _apply(lambda b, e: b**e, base, exponent)

  def root(self, value: Value, index: Fraction) -> Value:
    n = int(index)
    if isinstance(value, Fraction):
      if value < 0 and n % 2:
        return self.times(Fraction(-1), self.root(-value, index))
      if value >= 0:
        top, bottom = _whole_root(value.numerator, n), _whole_root(value.denominator, n)
        if top is not None and bottom is not None:
          return Fraction(top, bottom)
        root = math.exp(_logarithm(value).value / n) if n > 2 else math.sqrt(value)
        return Approximate(root, 4 * _EPSILON * root)
    self.branch |= _negative(value)
    return _apply(lambda v: v ** (1 / n), value)

  def factorial(self, value: Value) -> Value:
    if isinstance(value, Fraction) and value.denominator == 1 and value >= 0:
      if value > 3000 or value * value.numerator.bit_length() > MAX_BITS:
        raise Unbounded('too large a factorial')
      self.work += int(value) * value.numerator.bit_length()
      return Fraction(math.factorial(int(value)))
    return _apply(lambda v: math.gamma(v + 1), _as_real(value))

  def binomial(self, top: Value, bottom: Value) -> Value:
    if isinstance(top, Fraction) and isinstance(bottom, Fraction) and top.denominator == bottom.denominator == 1:
      if not 0 <= top <= 3000 or bottom < 0:
        raise Unbounded('too large a binomial coefficient')
      self.work += int(top)
      return Fraction(math.comb(int(top), int(bottom)))
    return _apply(
      lambda n, k: math.gamma(n + 1) / (math.gamma(k + 1) * math.gamma(n - k + 1)), _as_real(top), _as_real(bottom)
    )

  def call(self, name: str, argument: Node, base: Node | None = None) -> Value:
    value = self.value(argument, trigonometric='\\' + name in TRIGONOMETRIC)
    if name in ('log', 'ln', 'lg'):
      if base is not None or name == 'lg':
        below = Fraction(10) if base is None else self.value(base)
        return self.logarithm(value, below)
      self.branch |= _negative(value)
      return _logarithm(value)
    if name in ('cot', 'sec', 'csc'):
      below = {'cot': cmath.tan, 'sec': cmath.cos, 'csc': cmath.sin}[name]
      return _apply(lambda v: 1 / below(v), value)
    if name.startswith('arc'):
      name = 'a' + name[3:]
      if name in ('acot', 'asec', 'acsc'):
        value = _apply(lambda v: 1 / v, value)
        name = {'acot': 'atan', 'asec': 'acos', 'acsc': 'asin'}[name]
    return _apply(getattr(cmath, name), value)

  def logarithm(self, value: Value, base: Value) -> Value:
    power = _apply(lambda v, b: v / b, _logarithm(value), _logarithm(base))
    if _exact(value, base) and value > 0 and base > 0 and abs(power.value - round(power.value)) < 1e-9:
      near = Fraction(round(power.value))
      try:
        if self.power(base, near) == value:
          return near
      except Unbounded:
        pass
    return power


def complex_value(value: Value) -> complex:
  """The value as a complex number, infinite where it is too large for one."""
  try:
    return complex(value)
  except OverflowError:
    return complex(math.inf)


def fixed_value(name: str, point: int) -> float:
  """The value of a name at a fixed point, the same in every process.

  Positive at even points and negative at point 1; at point 3 the sign is that of the name, so that products of names
  can have either.
  """
  size = 0.35 + 2.3 * zlib.crc32(f'{name} {point}'.encode()) / 2**32
  return -size if point == 1 or (point == 3 and sum(map(ord, name)) % 2) else size


def _exact(*values: Value) -> bool:
  return not any(isinstance(v, Approximate) for v in values)


def _negative(value: Value) -> bool:
  number = complex(_number(value))
  return number.real < 0 and abs(number.imag) <= 1e-9 * abs(number)


def _number(value: Value) -> complex | float:
  if isinstance(value, Approximate):
    return value.value
  number = float(value)
  if value and abs(number) < 1e-290:
    raise Unbounded('too small')
  return number


def _as_real(value: Value) -> Value:
  """The value with its imaginary part, which is rounding, gone. Raises Unbounded where it is more, or too large."""
  number = complex(_number(value))
  if abs(number.imag) > 1e-12 * abs(number.real) or abs(number) > 1e15:
    raise Unbounded('not a real number of moderate size')
  return value if isinstance(value, Fraction) else Approximate(number.real, value.error)


def _real(value: Value) -> float:
  return float(_number(_as_real(value)))


def _logarithm(value: Value) -> Approximate:
  if isinstance(value, Fraction) and value > 0:  # Numbers that floating point cannot hold have a logarithm too.
    log = math.log(value.numerator) - math.log(value.denominator)
    return Approximate(log, 4 * _EPSILON * max(math.log(value.numerator), math.log(value.denominator)))
  number = _number(value)
  if isinstance(number, float) and number > 0:
    return _apply(math.log, value)
  return _apply(cmath.log, value)


def _whole_root(value: int, n: int) -> int | None:
  """The exact n-th root of a whole number, or None."""
  if n == 2:
    root = math.isqrt(value)
    return root if root * root == value else None
  if value.bit_length() > 1000:
    return None
  root = round(value ** (1 / n)) if value.bit_length() < 1000 else 0
  return root if root**n == value else None
