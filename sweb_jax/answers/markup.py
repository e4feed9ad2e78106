"""An answer out of its markup: Markdown, TeX delimiters, and the words before it ('The final answer is')."""

from __future__ import annotations

import re

_SO = r'(?:(?:so|thus|hence|therefore|then)\b[,:]?[ ]+)'
_IS = r'(?:is|are|equals|should[ ]be|must[ ]be|would[ ]be|will[ ]be|comes[ ]out[ ]to|turns[ ]out[ ]to[ ]be)'
ANSWER_IS = re.compile(
  r'(?<![a-zA-Z])(?:final[ ]+)?answer[*_]*(?:[ ]+to[ ]+[^.:\n]{1,60})?'
  rf'(?:[ ]+{_IS}\b|[ ]*[:=])'
  r'(?:,?[ ]+(?:thus|therefore|then|hence|so|simply|just|clearly|indeed|exactly|equal[ ]to|given[ ]by)\b,?)*'
  r'(?:[ ]*[:=])?[*_]*[ \t\n]*+',
  re.IGNORECASE,
)
"""What comes before an answer in a sentence: 'the answer is', 'Answer:', '**Answer**:', 'the answer is thus'."""

_WRAPPED = re.compile(
  r'\*\*(?P<a>(?:(?!\*\*).)+)\*\*|__(?P<b>(?:(?!__).)+)__|\*(?P<c>[^*\s](?:[^*]*[^*\s])?)\*|```(?P<d>[^`]+)```'
  r'|`(?P<e>[^`]+)`|\$\$(?P<f>(?:\\.|[^$\\])+)\$\$|\$(?P<g>(?:\\.|[^$\\])+)\$'
  r'|\\\((?P<h>(?:(?!\\\)).)+)\\\)|\\\[(?P<i>(?:(?!\\\]).)+)\\\]',
  re.DOTALL,
)
BEFORE = re.compile(
  rf'\#{{1,6}}[ ]+|[*_]*{_SO}?(?:(?:the|our|my)[ ]+)?(?:correct[ ]+)?{ANSWER_IS.pattern}'
  rf"|{_SO}?(?!.*\b(?:not|no|nor|never|none|neither|if)\b)[a-z][a-z' ]{{0,60}}?\b{_IS}:?[ ]+(?=[*`]*[$\\(\[0-9.-])"
  rf'|{_SO}',
  re.IGNORECASE,
)
"""What may stand before the answer in a text of one answer."""

_BEGUN = re.compile(r'[*_`#$]|\\[(\[]|[a-zA-Z][^=<>\\]*[ :]')
"""What markup or words before an answer begin with."""

_ROUNDS = 8


def bare(text: str) -> str:
  """The answer that a text of one answer holds: '**Answer**: $73$.' -> '73', '`x + 1`' -> 'x + 1', '### 5' -> '5'."""
  text = text.strip()
  if not _BEGUN.match(text):
    return text
  for _ in range(_ROUNDS):
    before = text
    if match := BEFORE.match(text):
      text = text[match.end() :].strip() or text
    inner = text.removesuffix('.')
    if inner[-1:] in '*_`$)]' and (match := _WRAPPED.fullmatch(inner)):
      text = match[match.lastgroup].strip() or text
    if text == before:
      break
  return text
