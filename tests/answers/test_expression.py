"""Formulas have the value that mathematics gives them, exactly where it is rational, and bounds hold before work."""

import cmath
import math
import random
from fractions import Fraction

import pytest

from sweb_jax.answers import expression, latex, values


def value(text, point=0):
  return values.evaluate(expression.parse(latex.tokens(text)), point)


@pytest.mark.parametrize(
  ('text', 'exact'),
  [
    ('2+3*4', 14),
    ('-2^2', -4),
    ('(-2)^2', 4),
    ('2^3^2', 512),
    ('2--3', 5),
    ('1/2/2', Fraction(1, 4)),
    (r'\frac12+\frac{1}{3}', Fraction(5, 6)),
    (r'1\frac{2}{3}', Fraction(5, 3)),
    (r'-1\frac12', Fraction(-3, 2)),
    (r'2\frac{3}{2}', 3),
    (r'0.\overline{36}', Fraction(4, 11)),
    (r'0.1\overline{6}', Fraction(1, 6)),
    ('5!/3!', 20),
    (r'\binom{5}{2}', 10),
    (r'\sqrt{\frac{9}{4}}', Fraction(3, 2)),
    (r'\sqrt[3]{-8}', -2),
    ('8^{2/3}', 4),
    ('2^{-3}', Fraction(1, 8)),
    (r'\log_2 8', 3),
    (r'|{-3}|+|2-5|', 6),
    (r'\lfloor -\frac{1}{2} \rfloor', -1),
    ('1.5e3', 1500),
    ('50%', Fraction(1, 2)),
    (r'2\left(3\right)(4)', 24),
  ],
)
def test_rational_values_are_exact(text, exact):
  found = value(text)
  assert isinstance(found, Fraction)
  assert found == exact


@pytest.mark.parametrize(
  ('text', 'expected'),
  [
    (r'\sqrt2', math.sqrt(2)),
    (r'2\pi', 2 * math.pi),
    (r'e^{i\pi}', -1),
    (r'\sin 30^\circ', 0.5),
    (r'\cos\frac{\pi}{3}', 0.5),
    (r'\sin^2 1 + \cos^2 1', 1),
    (r'\tan^{-1} 1', math.pi / 4),
    (r'\arccos 0', math.pi / 2),
    (r'\ln 2 + \ln 3', math.log(6)),
    (r'\log_{10} 5', math.log10(5)),
    (r'\sec 1', 1 / math.cos(1)),
    (r'\sqrt{-4}', 2j),
    (r'i^2', -1),
  ],
)
def test_other_values_are_right_to_rounding(text, expected):
  assert cmath.isclose(complex(value(text)), expected, rel_tol=1e-12, abs_tol=1e-12)


def test_random_arithmetic_agrees_with_fractions():
  rng = random.Random(0)

  def make(depth):
    if not depth or rng.random() < 0.2:
      number = rng.randint(0, 9)
      return str(number), Fraction(number)
    (left, a), (right, b) = make(depth - 1), make(depth - 1)
    operator = rng.choice('+-*/')
    if operator == '/' and not b:
      operator = '+'
    result = {'+': lambda: a + b, '-': lambda: a - b, '*': lambda: a * b, '/': lambda: a / b}[operator]()
    if operator == '/':
      return rng.choice([rf'\frac{{{left}}}{{{right}}}', f'(({left})/({right}))']), result
    return f'({left}{operator}{right})', result

  for _ in range(300):
    text, expected = make(3)
    # A number before a fraction is a mixed number; the generator never puts them side by side.
    assert value(text) == expected, text


def test_names_have_other_values_at_other_points_and_the_same_in_all_formulas():
  found = [complex(value('x', point)) for point in range(values.POINTS)]
  assert len(set(found)) == values.POINTS
  assert {f.real > 0 for f in found} == {True, False}
  assert value('x_1') == value('x_{1}') != value('x_2')
  assert complex(value('2x-x')) == pytest.approx(complex(value('x')))
  assert complex(value(r'\sqrt{x^2}', 1)) == pytest.approx(-complex(value('x', 1)))


@pytest.mark.parametrize(
  'text', ['', '1+', '2 3', r'\frac{1}', r'\zzz', '1/', '^2', 'x_', r'\sin', '1e1000000000', '(1,2)', '=']
)
def test_what_is_no_formula_is_refused(text):
  with pytest.raises(expression.ParseError):
    expression.parse(latex.tokens(text))


@pytest.mark.parametrize(
  'text',
  [
    '9^{9^9}',
    '9^{99999}',
    '99999!',
    r'\binom{9999}{99}',
    '1/0',
    r'\frac{1}{1-1}',
    r'\infty-\infty',
    '0^{-1}',
    r'\log 0',
    '*'.join(['2^{20000}'] * 40),
    '+'.join(['1/3^{9000}', '1/7^{8000}'] * 15),
  ],
)
def test_what_is_too_large_or_undefined_is_refused_quickly(text, within):
  with within(0.5), pytest.raises(values.Unbounded):
    value(text)


def test_nesting_is_bounded_where_brackets_are_not():
  for text in (r'\sqrt' * 90 + '2', 'x' + '^x' * 200, '|-' * 90 + '1' + '|' * 90, r'\sin' * 90 + 'x'):
    with pytest.raises(expression.ParseError, match='nested'):
      expression.parse(latex.tokens(text))


@pytest.mark.parametrize(
  ('text', 'exact'),
  [
    (r'\sin \pi', 0.0),
    (r'\sqrt{2}-\sqrt{2}', 0.0),
    (r'\sqrt2\sqrt3-\sqrt6', 0.0),
    (r'\frac{\sqrt2-\sqrt[4]{4}}{10^{40}}', 0.0),
    (r'10^{12}(\ln 8 - 3\ln 2)', 0.0),
    (r'\cos\frac{\pi}{3}-\frac12', 0.0),
    (r'\frac{\sqrt2}{2^{99}}', math.sqrt(2) / 2**99),
    (r'e^{-40}+\pi', math.exp(-40) + math.pi),
  ],
)
def test_a_value_is_within_its_rounding_error_of_the_exact_one(text, exact):
  found = value(text)
  assert abs(complex(found) - exact) <= 4 * found.error
  assert found.error <= 1e-9 * max(abs(exact), 1e-3) or exact == 0


@pytest.mark.parametrize('text', [r'\frac{\sqrt2}{2^{2000}}', r'10^{-200}\sqrt2 \cdot 10^{-200}\sqrt3'])
def test_what_is_too_small_for_floating_point_has_no_value(text):
  with pytest.raises(values.Unbounded):
    value(text)


def test_products_after_powers_and_fractions_are_read():
  assert value('2^3 3^2') == 72
  assert value(r'\frac{1}{2}3') == Fraction(3, 2)
  with pytest.raises(expression.ParseError):
    value('2 3')
