"""The final answer in the text of a completion."""

from __future__ import annotations

import re

from sweb_jax.answers.equal import MAX_LENGTH, NUMBER, spell

_MARKER = re.compile(r'(?<!#)####(?!#)[ \t]*+')
_NUMBER = re.compile(NUMBER)
# What may not follow the number: the rest of a word, number or list ('5k', '1e9', '3.2.1', '1,5'), or arithmetic that
# has yet to be done ('3/4', '5 + 3 = 8', '2 x 4', '10:30', '1 1/2'). Words may: '18 dollars', '18. Question: ...'.
_UNFINISHED = re.compile(r'\w|[(\\]|[.,]\d|,[ \t]*+\d|[ \t]*+(?:[-+−–*/^=×÷]|[x:]?[ \t]*+\$?\d)')


def answer_line(text: str) -> str | None:
  """The number after the first `####` of a completion, in one spelling ('$1,080.00.' -> '1080'), or None.

  The first marker alone counts: a base model runs on into a next question, whose answer is not this one's. Strict:
  where no complete number of at most `MAX_LENGTH` characters follows the marker, there is no answer.
  """
  marker = _MARKER.search(text)
  number = _NUMBER.match(text, marker.end()) if marker else None
  if number is None or number.end() - number.start() > MAX_LENGTH or _UNFINISHED.match(text, number.end()):
    return None
  return spell(number)
