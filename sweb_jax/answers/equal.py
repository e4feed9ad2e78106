"""Whether two final answers are the same number.

A number is brought to one spelling of its decimal expansion; equal spellings are equal numbers. That is exact, and
the work is that of a multiplication at most, so no answer can make it slow.
"""

from __future__ import annotations

import re
from decimal import Decimal
from fractions import Fraction

from sweb_jax.answers import markup, vocabulary

MAX_LENGTH = 64
"""Characters of the longest answer that is read; a longer one is no number."""

NUMBER = (
  r'(?:\\?[$€£][ ]?)?(?P<sign>[-−]?)[ ]?(?:\\?[$€£][ ]?)?'  # '-5', '−5', '- 5', '$5', '-$5', '$-5', '\$5'
  # '1,080.50', '1{,}080', '1,\!080', '1\,080', '.5'
  r'(?:(?P<whole>[0-9]{1,3}(?:(?:\{,\}|,(?:\\![ ]?)?|\\,)[0-9]{3})+|[0-9]++)(?:\.(?P<part>[0-9]++))?'
  r'|\.(?P<bare>[0-9]++))'
  r'(?:[ ]?\\?[%$€£])?'
)
"""Pattern of a plain decimal number: digits, thousands separators, a currency sign or a percent sign."""

_NUMBER = re.compile(NUMBER)
_MAX_LINE = 500
"""Characters of a line that are read for its number."""

_OPENED = re.compile(r'(?:[ \t]|\*+(?=\S)|_+(?=\S)|`|\$|\\[(\[]|\\(?:boxed|fbox|text|mathbf|textbf)[ ]?\{)*+')
_CLOSED = re.compile(r'(?:[}*_`$]|\\[)\]])*+')
_TEXT = re.compile(r'\\(?:text|mbox|mathrm|textrm|textbf)[ ]?\{|\\[ ,;:!]|~')
_WORD = re.compile(r'[ \t]*([A-Za-z]+)')
# What may not follow the number: the rest of a word, number or list ('5k', '1e9', '3.2.1', '1,5'), or arithmetic that
# has yet to be done ('3/4', '5 + 3 = 8', '2 x 4', '10:30', '1 1/2'). Words may: '18 dollars', '460/week'.
_UNFINISHED = re.compile(
  r'\w|[(\\{]|[.,]\d|,[ \t]*\d|[ \t]*(?:[+*^=×÷]|[-−–—/x:][ \t]*[-−(]?[$]?\.?\d|[-−–—](?=\w)|[$]?\d)'
)
# Words that say that the number was not all: '5 or 6', '5 to 6', '5 hours and 30 minutes', '5 and a half'.
_MORE = re.compile(
  r'(?:[ \t]+(?:to|plus|minus|times|over|(?:out[ ])?of|(?:less|more)[ ]than)'
  r'|(?:[ \t]+[a-z]+){0,3}?,?[ \t]+(?:or|and|&))[ \t]+(?:an?[ \t]+)?'
  rf'(?:[$]?\d|(?:half|third|quarter|{"|".join(vocabulary.NUMBER_WORDS)})\b)',
  re.IGNORECASE,
)
_TWO_UNITS = re.compile(r'[ \t]+([a-z]+)[ \t]+\d', re.IGNORECASE)


def spell(match: re.Match[str]) -> str:
  """The one spelling of the number that `NUMBER` matched: '$1,080.50' -> '1080.5', '-0' -> '0', '.50' -> '0.5'."""
  whole = re.sub('[^0-9]', '', match['whole'] or '').lstrip('0') or '0'
  part = (match['part'] or match['bare'] or '').rstrip('0')
  number = f'{whole}.{part}' if part else whole
  return f'-{number}' if match['sign'] and number != '0' else number


def normal_number(text: str) -> str | None:
  """The one spelling of the number that `text` is, or None.

  Commas between thousands, white space around it, a currency sign, a percent sign and a final period are dropped:
  '75%' is 75, as data sets write it. Not numbers: exponents, fractions, other digits than 0-9, words, and anything
  of more than `MAX_LENGTH` characters.
  """
  if len(text) > MAX_LENGTH:
    return None
  match = _NUMBER.fullmatch(text.strip().removesuffix('.'))
  return spell(match) if match else None


def same_number(gold: str, answer: str) -> bool:
  """Whether `answer` is the number `gold`, exactly: '18' and '$18.00' are, '18' and '18.0001' are not.

  An answer may stand in markup, behind 'The answer is', and before words ('**18** dollars'); one that is no number is
  wrong. Raises ValueError where `gold` is none: that is a fault of the task.
  """
  expected = normal_number(gold)
  if expected is None:
    raise ValueError(f'the gold answer {gold[:MAX_LENGTH]!r} is not a number; it cannot be compared')
  found = normal_number(answer)
  return expected == (complete_number(answer) if found is None else found)


def leading_number(line: str) -> tuple[str, str] | None:
  """The number that a line begins with, in one spelling, and what follows it; None where no number is complete.

    '$\\boxed{1{,}080}$'  -> ('1080', '')        '**18** dollars' -> ('18', ' dollars')
    '2 dozen'             -> ('24', '')          '5 or 6', '5 + 3 = 8', '5k', '5 hours and 30 minutes' -> None

  Markup and 'The answer is' may stand before it. A word that multiplies it is counted.
  """
  line = line[:_MAX_LINE]
  start = _OPENED.match(line).end()
  if said := markup.BEFORE.match(line, start):
    start = _OPENED.match(line, said.end()).end()
  match = _NUMBER.match(line, start)
  if match is None or match.end() - match.start() > MAX_LENGTH:
    return None
  number = spell(match)
  rest = line[_CLOSED.match(line, match.end()).end() :]
  rest = re.sub(r'[}*`]|_(?=\W|$)', '', _TEXT.sub(' ', rest))
  while not _UNFINISHED.match(rest) and (word := _WORD.match(rest)) and (by := vocabulary.multiplier(word[1].lower())):
    number, rest = _times(number, Fraction(*by)), rest[word.end() :]
    if number is None:
      return None
  two = _TWO_UNITS.match(rest)
  if _UNFINISHED.match(rest) or _MORE.match(rest) or (two and two[1] != 'in' and vocabulary.unit(two[1].lower())):
    return None
  return number, rest


def complete_number(text: str) -> str | None:
  """The number that a text of one line is, alone, in markup, behind 'The answer is' or before words; or None."""
  text = text.lstrip()
  found = leading_number(text) if len(text) <= _MAX_LINE and '\n' not in text.rstrip() else None
  if found is None:
    return None
  number, rest = found
  return number if re.fullmatch(r'\s?[.]?\s{0,8}|[ \t]*[-–—/]?[ \t]*[A-Za-z(].*', rest) else None


def _times(number: str, factor: Fraction) -> str | None:
  """The product in one spelling; None where no decimal spells it."""
  product = Fraction(number) * factor
  rest = product.denominator
  for prime in (2, 5):
    while rest % prime == 0:
      rest //= prime
  if rest != 1:
    return None
  places = next(n for n in range(4 * MAX_LENGTH) if 10**n % product.denominator == 0)
  match = _NUMBER.fullmatch(f'{Decimal(int(product * 10**places)).scaleb(-places):f}')
  return spell(match)
