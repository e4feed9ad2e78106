"""Equal numbers are equal whatever their spelling; what is no number is equal to none."""

import fractions
import itertools

import pytest

from sweb_jax.answers import MAX_LENGTH, normal_number, same_number

SPELLINGS = [
  ('18', '18.00', '18.', ' 18 ', '$18', '18%', '$ 18', '18 $', '018'),
  ('-3', '−3', '- 3', '-$3', '$-3', '-3.0'),
  ('0', '-0', '0.00', '.0'),
  ('0.5', '.5', '0.50', '$.50'),
  ('1080', '1,080', '1,080.0', '$1,080'),
  ('1000000.25', '1,000,000.25'),
  ('3',),
  ('180',),
]


def test_only_spellings_of_one_number_are_the_same():
  for (i, a), (j, b) in itertools.product(enumerate(SPELLINGS), repeat=2):
    for x, y in itertools.product(a, b):
      assert same_number(x, y) == (i == j), (x, y)


def test_it_agrees_with_exact_rational_arithmetic():
  parts = itertools.product(('', '-'), ('0', '7', '07', '70'), ('', '.0', '.7', '.70'))
  plain = [''.join(p) for p in parts]
  for a, b in itertools.product(plain, repeat=2):
    assert same_number(a, b) == (fractions.Fraction(a) == fractions.Fraction(b)), (a, b)


def test_digits_beyond_a_float_still_differ():
  assert not same_number('9007199254740992', '9007199254740993')
  assert not same_number('0.1', '0.1000000000000000000001')


@pytest.mark.parametrize('spelling', ['1,080.50', '-0.0', '.50', '$ 3', '75 %', '12'])
def test_the_one_spelling_is_a_fixed_point(spelling):
  once = normal_number(spelling)
  assert once is not None
  assert normal_number(once) == once


@pytest.mark.parametrize(
  'answer',
  [
    '',
    '.',
    '-',
    '$',
    '1e2',
    '1e1000000000',
    '1_8',
    '1 8',
    '18,',
    '1,8',
    '18..',
    '36/2',
    '9+9',
    'eighteen',
    'nan',
    'inf',
    '0x12',
    '１８',
    '१८',
    '18\n18',
    '18' + ' ' * MAX_LENGTH,
    '9' * 10**6,
    "__import__('os')",
  ],
)
def test_a_text_that_is_no_number_is_wrong(answer):
  assert normal_number(answer) is None
  assert not same_number('18', answer)


def test_a_number_of_the_longest_length_is_read_and_one_longer_is_not():
  assert same_number('9' * MAX_LENGTH, '9' * MAX_LENGTH)
  assert not same_number('9' * MAX_LENGTH, '9' * (MAX_LENGTH + 1))


def test_a_long_answer_takes_no_time(within):
  with within(20):
    for text in ('9' * 10**7, '1,' * 10**6, ' ' * 10**7, '-' * 10**7):
      assert not same_number('18', text)


def test_a_gold_answer_that_is_no_number_is_an_error():
  with pytest.raises(ValueError, match=r'gold answer .x = 3. is not a number'):
    same_number('x = 3', '3')
