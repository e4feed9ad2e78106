"""Multiples, sums and transposes of matrices are worked out cell by cell, as arithmetic with fractions does."""

import random
from fractions import Fraction

import pytest

from sweb_jax.answers import latex, matrices, values
from sweb_jax.answers.expression import parse


def computed(text: str) -> list[list[Fraction]] | None:
  cells = matrices.cells(latex.tokens(text))
  return cells and [[values.evaluate(parse(cell)) for cell in row] for row in cells]


def spelt(grid: list[list[Fraction]]) -> str:
  name = 'pmatrix'
  return rf'\begin{{{name}}}' + r' \\ '.join(' & '.join(map(str, row)) for row in grid) + rf'\end{{{name}}}'


def test_random_sums_of_multiples_and_transposes_agree_with_fractions():
  rng = random.Random(0)
  for _ in range(100):
    rows, columns = rng.randint(1, 3), rng.randint(1, 3)
    text, expected = '', [[Fraction(0)] * columns for _ in range(rows)]
    for i in range(rng.randint(1, 3)):
      grid = [[Fraction(rng.randint(-9, 9), rng.randint(1, 4)) for _ in range(columns)] for _ in range(rows)]
      sign, scale = rng.choice((1, -1)), Fraction(rng.randint(1, 9), rng.randint(1, 5))
      written = rf'\frac{{{scale.numerator}}}{{{scale.denominator}}}'
      term = spelt(grid)
      if rng.random() < 0.5:
        term = spelt([list(column) for column in zip(*grid, strict=True)]) + '^T'
      forms = f'{written} {term}', f'{term} \\cdot {written}', f'{scale.numerator}{term}/{scale.denominator}'
      term = rng.choice(forms)
      text += ('-' if sign < 0 else '+' if i else '') + term
      expected = [[a + sign * scale * b for a, b in zip(*r, strict=True)] for r in zip(expected, grid, strict=True)]
    assert computed(text) == expected, text


@pytest.mark.parametrize(
  'text',
  [
    'x+1',
    r'\begin{pmatrix}1&2\\3\end{pmatrix}',
    r'\begin{pmatrix}1\end{pmatrix}+\begin{pmatrix}1&2\end{pmatrix}',
    r'\begin{pmatrix}1\end{pmatrix}\begin{pmatrix}1\end{pmatrix}',
    r'\begin{pmatrix}1\end{pmatrix}^2',
    r'\begin{pmatrix}1\end{pmatrix}+1',
    'f(1,2)',
  ],
)
def test_what_is_no_sum_of_multiples_is_left_alone(text):
  assert matrices.cells(latex.tokens(text)) is None
