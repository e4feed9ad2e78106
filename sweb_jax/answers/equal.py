"""Whether two final answers are the same number.

A number is brought to one spelling of its decimal expansion; equal spellings are equal numbers. That is exact, and
nothing is computed, so no answer can make it slow.
"""

from __future__ import annotations

import re

MAX_LENGTH = 64
"""Characters of the longest answer that is read; a longer one is no number."""

NUMBER = (
  r'(?:[$€£][ ]?)?(?P<sign>[-−]?)[ ]?(?:[$€£][ ]?)?'  # '-5', '−5', '- 5', '$5', '-$5', '$-5'
  r'(?:(?P<whole>[0-9]{1,3}(?:,[0-9]{3})+|[0-9]++)(?:\.(?P<part>[0-9]++))?|\.(?P<bare>[0-9]++))'  # '1,080.50', '.5'
  r'(?:[ ]?[%$€£])?'
)
"""Pattern of a plain decimal number: digits, thousands separators, a currency sign or a percent sign."""

_NUMBER = re.compile(NUMBER)


def spell(match: re.Match[str]) -> str:
  """The one spelling of the number that `NUMBER` matched: '$1,080.50' -> '1080.5', '-0' -> '0', '.50' -> '0.5'."""
  whole = (match['whole'] or '').replace(',', '').lstrip('0') or '0'
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

  An `answer` that is no number is wrong. Raises ValueError where `gold` is none: that is a fault of the task.
  """
  expected = normal_number(gold)
  if expected is None:
    raise ValueError(f'the gold answer {gold[:MAX_LENGTH]!r} is not a number; it cannot be compared')
  return expected == normal_number(answer)
