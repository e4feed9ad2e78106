"""An answer out of its markup: Markdown, TeX delimiters, and the words before it ('The final answer is')."""

from __future__ import annotations

import re

ANSWER_IS = re.compile(
  r'\b(?:final[ ]+)?answer(?:\*\*|__)?(?:[ ]+to[ ]+[^.:\n]{1,60})?'
  r'(?:[ ]+(?:is|equals|should[ ]be|must[ ]be|would[ ]be|will[ ]be|comes[ ]out[ ]to|turns[ ]out[ ]to[ ]be)\b|[ ]*[:=])'
  r'(?:,?[ ]+(?:thus|therefore|then|hence|so|simply|just|clearly|indeed|exactly|equal[ ]to|given[ ]by)\b,?)*'
  r'(?:[ ]*[:=])?[*_]*[ \t\n]*+(?:\*\*|__)?[ \t\n]*+',
  re.IGNORECASE,
)
"""What comes before an answer in a sentence: 'the answer is', 'Answer:', '**Answer**:', 'the answer is thus'."""

_WRAPPED = re.compile(
  r'\*\*(?P<a>(?:(?!\*\*).)+)\*\*|__(?P<b>(?:(?!__).)+)__|\*(?P<c>[^*\s](?:[^*]*[^*\s])?)\*|```(?P<d>[^`]+)```'
  r'|`(?P<e>[^`]+)`|\$\$(?P<f>(?:\\.|[^$\\])+)\$\$|\$(?P<g>(?:\\.|[^$\\])+)\$'
  r'|\\\((?P<h>(?:(?!\\\)).)+)\\\)|\\\[(?P<i>(?:(?!\\\]).)+)\\\]',
  re.DOTALL,
)
_BEFORE = re.compile(
  r'\#{1,6}[ ]+|(?:(?:so|thus|hence|therefore|then)\b[,:]?[ ]+)?(?:(?:the|our|my)[ ]+)?(?:correct[ ]+)?'
  + ANSWER_IS.pattern,
  re.IGNORECASE,
)
_HINT = re.compile(r'[*_`#$]|\\[(\[]|answer', re.IGNORECASE)
_ROUNDS = 8


def bare(text: str) -> str:
  """The answer that a text of one answer holds: '**Answer**: $73$.' -> '73', '`x + 1`' -> 'x + 1', '### 5' -> '5'."""
  text = text.strip()
  for _ in range(_ROUNDS if _HINT.search(text) else 0):
    before = text
    if match := _BEFORE.match(text):
      text = text[match.end() :].strip()
    inner = text.removesuffix('.')
    if inner[-1:] in '*_`$)]' and (match := _WRAPPED.fullmatch(inner)):
      text = match[match.lastgroup].strip()
    if text == before:
      break
  return text
