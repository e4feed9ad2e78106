"""The value of a parsed formula: exact where it is rational, else in floating point, with names at fixed points.

This is the module's own arithmetic. No formula can make it large or slow: the size of every exact number, and the work
of all of them together, are bounded before each step.
"""

from __future__ import annotations

import cmath
import math
import zlib
from fractions import Fraction

from sweb_jax.answers.expression import TRIGONOMETRIC, Node

MAX_BITS = 24_000
"""Of a numerator or a denominator: a value of more than about 7,000 digits is not computed."""

MAX_WORK = 200_000
"""Bits that the exact arithmetic of one formula may touch."""

POINTS = 4
"""How many values of the names a formula with names is evaluated at."""

Value = Fraction | float | complex


class Unbounded(ArithmeticError):
  """The value is too large to compute, or there is none."""


def evaluate(node: Node, point: int = 0, pi: float = math.pi) -> Value:
  """The value with the names at fixed point number `point`; a Fraction where it is exactly rational.

  Raises Unbounded where it is too large to compute or is not defined.
  """
  try:
    value = _Evaluation(point, pi).value(node)
  except (ArithmeticError, ValueError, TypeError) as e:
    raise Unbounded(str(e)) from e
  if isinstance(value, Fraction):
    return value
  value = complex(value)
  if cmath.isnan(value):
    raise Unbounded('no number')
  return value


class _Evaluation:
  def __init__(self, point: int, pi: float):
    self.point = point
    self.pi = pi
    self.work = 0

  def charge(self, *values: Value) -> None:
    bits = sum(v.numerator.bit_length() + v.denominator.bit_length() for v in values if isinstance(v, Fraction))
    self.work += bits
    if bits > 2 * MAX_BITS or self.work > MAX_WORK:
      raise Unbounded('too much exact arithmetic')

  def value(self, node: Node, trigonometric: bool = False) -> Value:
    kind = node[0]
    if kind == 'number':
      return node[1]
    if kind == 'name':
      return fixed_value(node[1], self.point)
    if kind == 'pi':
      return self.pi
    if kind == 'infinity':
      return math.inf
    if kind == 'call':
      return self.call(*node[1:])
    if kind == 'degrees':
      value = self.value(node[1])
      return value * (math.pi / 180) if trigonometric else value
    values = [self.value(child, trigonometric) for child in node[1:] if isinstance(child, tuple)]
    self.charge(*values)
    if kind == '+':
      total = values[0]
      for value in values[1:]:
        self.charge(total, value)
        total = total + value
      return total
    if kind == '*':
      total = values[0]
      for value in values[1:]:
        self.charge(total, value)
        total = total * value
      return total
    if kind == '-':
      return -values[0]
    if kind == 'inverse':
      return 1 / values[0]
    if kind == '^':
      return self.power(values[0], values[1])
    if kind == 'root':
      return self.root(values[0], node[2])
    if kind == 'factorial':
      return self.factorial(values[0])
    if kind == 'binomial':
      return self.binomial(values[0], values[1])
    if kind == 'abs':
      return abs(values[0])
    if kind in ('lfloor', 'lceil'):
      value = values[0] if isinstance(values[0], Fraction) else _real(values[0])
      return Fraction(math.floor(value) if kind == 'lfloor' else math.ceil(value))
    raise Unbounded(kind)

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
      return base ** int(exponent)
    if _number(base) == 0:
      return Fraction(0) if _real(exponent) > 0 else 1 / Fraction(0)
    return _number(base) ** _number(exponent)

  def root(self, value: Value, index: Fraction) -> Value:
    n = int(index)
    if isinstance(value, Fraction):
      if value < 0 and n % 2:
        return -self.root(-value, index)
      if value >= 0:
        top, bottom = _whole_root(value.numerator, n), _whole_root(value.denominator, n)
        if top is not None and bottom is not None:
          return Fraction(top, bottom)
        return math.exp(_log(value) / n) if n > 2 else math.sqrt(value)
    return _number(value) ** (1 / n)

  def factorial(self, value: Value) -> Value:
    if isinstance(value, Fraction) and value.denominator == 1 and value >= 0:
      if value > 3000 or value * value.numerator.bit_length() > MAX_BITS:
        raise Unbounded('too large a factorial')
      self.work += int(value) * value.numerator.bit_length()
      return Fraction(math.factorial(int(value)))
    return math.gamma(_real(value) + 1)

  def binomial(self, top: Value, bottom: Value) -> Value:
    if isinstance(top, Fraction) and isinstance(bottom, Fraction) and top.denominator == bottom.denominator == 1:
      if not 0 <= top <= 3000 or bottom < 0:
        raise Unbounded('too large a binomial coefficient')
      self.work += int(top)
      return Fraction(math.comb(int(top), int(bottom)))
    n, k = _real(top), _real(bottom)
    return math.gamma(n + 1) / (math.gamma(k + 1) * math.gamma(n - k + 1))

  def call(self, name: str, argument: Node, base: Node | None = None) -> Value:
    value = self.value(argument, trigonometric='\\' + name in TRIGONOMETRIC)
    if name in ('log', 'ln', 'lg'):
      if base is not None or name == 'lg':
        below = Fraction(10) if base is None else self.value(base)
        return self.logarithm(value, below)
      return cmath.log(_number(value)) if not _positive(value) else _log(value)
    value = _number(value)
    if name in ('cot', 'sec', 'csc'):
      return 1 / {'cot': cmath.tan, 'sec': cmath.cos, 'csc': cmath.sin}[name](value)
    if name.startswith('arc'):
      name = 'a' + name[3:]
      if name in ('acot', 'asec', 'acsc'):
        value, name = 1 / value, {'acot': 'atan', 'asec': 'acos', 'acsc': 'asin'}[name]
    return getattr(cmath, name)(value)

  def logarithm(self, value: Value, base: Value) -> Value:
    if _positive(value) and _positive(base):
      power = _log(value) / _log(base)
      near = round(power)
      if isinstance(value, Fraction) and isinstance(base, Fraction) and abs(power - near) < 1e-9:
        try:
          if self.power(base, Fraction(near)) == value:
            return Fraction(near)
        except Unbounded:
          pass
      return power
    return cmath.log(_number(value)) / cmath.log(_number(base))


def fixed_value(name: str, point: int) -> float:
  """The value of a name at a fixed point: the same in every process, positive at even points, negative at odd ones."""
  size = 0.35 + 2.3 * zlib.crc32(f'{name} {point}'.encode()) / 2**32
  return -size if point % 2 else size


def _number(value: Value) -> complex | float:
  return value if not isinstance(value, Fraction) else float(value)


def _real(value: Value) -> float:
  value = complex(_number(value))
  if abs(value.imag) > 1e-12 * abs(value.real) or abs(value) > 1e15:
    raise Unbounded('not a real number of moderate size')
  return value.real


def _positive(value: Value) -> bool:
  return not isinstance(value, complex) and value > 0


def _log(value: Value) -> float:
  if isinstance(value, Fraction):
    return math.log(value.numerator) - math.log(value.denominator)
  return math.log(value)


def _whole_root(value: int, n: int) -> int | None:
  """The exact n-th root of a whole number, or None."""
  if n == 2:
    root = math.isqrt(value)
    return root if root * root == value else None
  if value.bit_length() > 1000:
    return None
  root = round(value ** (1 / n)) if value.bit_length() < 1000 else 0
  return root if root**n == value else None
