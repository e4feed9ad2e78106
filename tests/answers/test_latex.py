"""One spelling for every way to write the tokens of an answer."""

import pytest

from sweb_jax.answers import latex


@pytest.mark.parametrize(
  ('text', 'tokens'),
  [
    (r'\$12{,}000.', '$ 12000'),
    (r'1,\!000,\!000', '1000000'),
    (r'11,\! 111,\! 100', '11111100'),
    ('1,234.50', '1234.50'),
    (r'\left( 1, 2 \right]', '( 1 , 2 ]'),
    (r'\dfrac12\text{ cm}^2', r'\frac 12 "cm ^ 2'),
    (r'30^{\circ}', '30 deg'),
    (r'30 ^ { \circ }', '30 deg'),
    (r'x=1\text{ or }x=-2', r'x = 1 \lor x = - 2'),
    (r'\boxed{5}', '5'),
    (r'\mathbf{v}', 'v'),
    (r'\mathrm{km}', '"km'),
    (r'\phantom{0}4', '4'),
    (r'\begin{bmatrix}1&2\\3&4\end{bmatrix}', r'matrix( 1 & 2 \\ 3 & 4 matrix)'),
    (r'\begin{array}{cc}1&2\end{array}', r'matrix( 1 & 2 matrix)'),
    ('5 – 3·x ≤ π', r'5 - 3 * x \le \pi'),
    (r'\mathbb{R}', r'( - \infty , \infty )'),
    ('sqrt(2) + pi', r'\sqrt ( 2 ) + \pi'),
    ('8:34 p.m.', '8 : 34 "pm'),
    ('5 percent', '5 %'),
    ('3 million', '3 * 1000000'),
    ('2**3', '2 ^ 3'),
    ('Evelyn', "'evelyn"),
    ('xy', 'x y'),
  ],
)
def test_spellings_become_one(text, tokens):
  assert ' '.join(latex.tokens(text)) == tokens


def test_a_comma_between_digits_separates_where_thousands_are_off():
  assert latex.tokens('100,200') == ('100200',)
  assert latex.tokens('100,200', thousands=False) == ('100', ',', '200')
  assert latex.tokens('100{,}200', thousands=False) == ('100200',)
  assert latex.tokens('100, 20') == ('100', ',', '20')


@pytest.mark.parametrize(
  'text', ['(1', '1)2', '(1}', '{' * 25 + '}' * 25, r'\begin{pmatrix}1', '1' * (latex.MAX_CHARS + 1)]
)
def test_unbalanced_deep_or_long_text_has_no_tokens(text):
  assert latex.tokens(text) is None


def test_a_choice_may_lack_its_opening_bracket():
  assert latex.tokens('C)') == ('C',)
