"""Commands, words and units that LaTeX answers use, and the one spelling of each."""

from __future__ import annotations


def _set(names: str) -> frozenset[str]:
  return frozenset(names.split())


FUNCTIONS = _set('sin cos tan cot sec csc arcsin arccos arctan sinh cosh tanh log ln lg exp sqrt gcd lcm max min det')
NUMBER_WORDS = {
  word: str(i)
  for i, word in enumerate(
    [
      'zero',
      'one',
      'two',
      'three',
      'four',
      'five',
      'six',
      'seven',
      'eight',
      'nine',
      'ten',
      'eleven',
      'twelve',
      'thirteen',
      'fourteen',
      'fifteen',
      'sixteen',
      'seventeen',
      'eighteen',
      'nineteen',
      'twenty',
    ]
  )
}
MULTIPLIERS = {
  'dozen': (12, 1),
  'hundred': (10**2, 1),
  'thousand': (10**3, 1),
  'million': (10**6, 1),
  'billion': (10**9, 1),
  'trillion': (10**12, 1),
  'half': (1, 2),
  'halve': (1, 2),
  **{
    name: (1, bottom)
    for bottom, name in enumerate(['third', 'fourth', 'fifth', 'sixth', 'seventh', 'eighth', 'ninth', 'tenth'], 3)
  },
  'hundredth': (1, 10**2),
  'thousandth': (1, 10**3),
  'millionth': (1, 10**6),
}
"""Words after a number that change its value: what they multiply it by, as numerator and denominator."""
_UNITS = {
  name: names.split()[0]
  for names in (
    'cm centimeter centimetre',
    'mm millimeter millimetre',
    'km kilometer kilometre',
    'meter metre m',
    'inch inche in',
    'foot feet ft',
    'yard yd',
    'mile mi',
    'second sec s',
    'minute min',
    'hour hr h',
    'day',
    'week',
    'month',
    'year yr',
    'cent',
    'dollar usd buck',
    'gram gm g',
    'kg kilogram',
    'pound lb',
    'ounce oz',
    'liter litre l',
    'ml milliliter millilitre',
    'gallon gal',
    'mph',
    'kph kmh',
    'euro',
    'radian rad',
    'celsius',
    'fahrenheit',
    'am',
    'pm',
  )
  for name in names.split()
}
_COMPOUND_UNITS = {'mph': {'mile': 1, 'hour': -1}, 'kph': {'km': 1, 'hour': -1}}
CURRENCIES = {'$': 'dollar', '€': 'euro', '£': 'sterling', '¢': 'cent'}
LETTER_UNITS = frozenset('mgshlL')
DEGREE_UNITS = {'C': 'celsius', 'F': 'fahrenheit'}
PLAIN_UNITS = _set(
  'all any the for but not real reals except base'
  ' unit units squared cubed square sq cubic degree degrees per way ways point points people student students piece'
  ' pieces'
)

UNICODE = str.maketrans(
  {
    **dict.fromkeys('−–—﹣－', '-'),
    **dict.fromkeys('\u00a0\u2009\u202f\u2002\u2003\u3000', ' '),
    **dict.fromkeys('·⋅∙', r'\cdot '),
    **dict.fromkeys('°˚º', r'^\circ '),
    '×': r'\times ',
    '÷': '/',
    '∕': '/',
    '⁄': '/',
    '∗': '*',
    'π': r'\pi ',
    'θ': r'\theta ',
    '∞': r'\infty ',
    '∪': r'\cup ',
    '≤': r'\le ',
    '≥': r'\ge ',
    '≠': r'\neq ',
    '∶': ':',
    '⩽': r'\le ',
    '⩾': r'\ge ',
    '≈': r'\approx ',
    '∉': r'\notin ',
    '∩': r'\cap ',
    '∖': r'\setminus ',
    '…': '...',
    '∅': r'\emptyset ',
    '∈': r'\in ',
    '±': r'\pm ',
    '√': r'\sqrt ',
    'ℝ': r'\mathbb{R}',
    '²': '^2',
    '³': '^3',
    '½': r'\frac12 ',
    '¼': r'\frac14 ',
    '¾': r'\frac34 ',
    '％': '%',
    '，': ',',
    '（': '(',
    '）': ')',
    '⟨': '(',
    '⟩': ')',
    '′': "'",
    '’': "'",
    '“': '"',
    '”': '"',
  }
)
SPELLINGS = {
  **dict.fromkeys((r'\dfrac', r'\tfrac', r'\cfrac', r'\nicefrac', r'\sfrac'), r'\frac'),
  **dict.fromkeys((r'\dbinom', r'\tbinom'), r'\binom'),
  **dict.fromkeys((r'\leq', r'\leqslant', r'\leqq', '<=', '=<'), r'\le'),
  **dict.fromkeys((r'\geq', r'\geqslant', r'\geqq', '>='), r'\ge'),
  **dict.fromkeys((r'\ne', r'\not=', '!='), r'\neq'),
  **dict.fromkeys((r'\times', r'\cdot', '*', r'\ast'), '*'),
  **dict.fromkeys((r'\lt',), '<'),
  **dict.fromkeys((r'\gt',), '>'),
  **dict.fromkeys((r'\langle', r'\lparen'), '('),
  **dict.fromkeys((r'\rangle', r'\rparen'), ')'),
  **dict.fromkeys((r'\lbrack',), '['),
  **dict.fromkeys((r'\rbrack',), ']'),
  **dict.fromkeys((r'\lbrace',), r'\{'),
  **dict.fromkeys((r'\rbrace',), r'\}'),
  **dict.fromkeys((r'\lvert', r'\rvert', r'\vert', r'\mid', r'\|', r'\Vert', r'\lVert', r'\rVert'), '|'),
  **dict.fromkeys((r'\sim', r'\simeq', r'\thickapprox', r'\doteq'), r'\approx'),
  **dict.fromkeys((r'\varnothing',), r'\emptyset'),
  r'\wedge': r'\land',
  r'\vee': r'\lor',
  ';': ',',
  '==': '=',
  **dict.fromkeys((r'\ldots', r'\cdots', r'\dotsc', r'\dotsb', '...'), r'\dots'),
  r'\colon': ':',
  r'\backslash': r'\setminus',
  r'\intercal': r'\top',
  **dict.fromkeys((r'\cr', r'\newline', r'\tabularnewline'), '\\\\'),
  **dict.fromkeys((r'\Reals', r'\reals'), r'\R'),
  r'\Bbb': r'\mathbb',
  r'\div': '/',
  '**': '^',
  r'\%': '%',
  r'\degree': 'deg',
  r'\bigcup': r'\cup',
  r'\tg': r'\tan',
  r'\cosec': r'\csc',
  **dict.fromkeys((r'\bar', r'\dot'), r'\overline'),  # Of a repeating decimal.
  r'\ell': 'l',
  r'\imath': 'i',
  r'\jmath': 'j',
}
DROPPED = _set(
  r'\left \right \big \Big \bigg \Bigg \bigl \bigr \Bigl \Bigr \biggl \biggr \middle \, \! \; \: \> \( \) \[ \] ~'
  r' \quad \qquad \displaystyle \textstyle \scriptstyle \limits \rm \bf \it \tt \/ \thinspace \hfill \noindent'
  r' \therefore \nolimits'
  r' \angle \triangle \hline \allowbreak \nobreak \strut \mathstrut \-'
) | {'\\ ', '\\\n'}
DROPPED_GROUP = frozenset((r'\phantom', r'\hspace', r'\vspace', r'\hphantom', r'\color', r'\label', r'\tag', r'\kern'))
ARROWS = _set(r'\Rightarrow \Longrightarrow \implies \Leftrightarrow \iff')
TEXT = frozenset(
  (r'\text', r'\mbox', r'\textbf', r'\textit', r'\textrm', r'\textnormal', r'\texttt', r'\hbox', r'\textsf', r'\emph')
)
FONTS = frozenset(
  (
    r'\mathrm',
    r'\mathbf',
    r'\mathit',
    r'\mathsf',
    r'\mathtt',
    r'\operatorname',
    r'\boldsymbol',
    r'\bm',
    r'\mathcal',
    r'\boxed',
    r'\fbox',
    r'\textcolor',
    r'\underline',
    r'\vec',
    r'\hat',
    r'\widehat',
    r'\overrightarrow',
    r'\bold',
    r'\mathbin',
    r'\mathop',
    r'\ensuremath',
  )
)
MATRICES = frozenset(('matrix', 'pmatrix', 'bmatrix', 'smallmatrix', 'Bmatrix', 'array'))


def unit(word: str) -> str | None:
  """The one name of a unit of measure ('feet' -> 'foot'), or None where the word is none."""
  return _UNITS.get(word) or _UNITS.get(word.removesuffix('s'))


def multiplier(word: str) -> tuple[int, int] | None:
  """What a word after a number multiplies it by ('dozen' -> (12, 1), 'tenths' -> (1, 10)), or None."""
  return MULTIPLIERS.get(word) or MULTIPLIERS.get(word.removesuffix('s'))


def dimension(words: list[str]) -> dict[str, int]:
  """Units and their powers in the words after a number; empty where no unit is known.

  ['"square', '"feet'] -> {'foot': 2}, ['"m', '/', '"s', '^', '2'] -> {'meter': 1, 'second': -2}. Words that are no
  units are comments.
  """
  powers: dict[str, int] = {}
  sign, power, last = 1, 1, ''
  for i, token in enumerate(words):
    word = token.lstrip('"\'')
    if token == '/' or (token[0] == '"' and word in ('per', 'a', 'an', 'each', 'every')):
      sign = -1
    elif word in ('square', 'sq', 'cubic'):
      power = 3 if word == 'cubic' else 2
    elif last and (word in ('squared', 'cubed') or (token in ('2', '3') and words[i - 1] == '^')):
      powers[last] += ({'squared': 1, 'cubed': 2}.get(word) or int(token) - 1) * (1 if powers[last] > 0 else -1)
      last = ''
    elif found := unit(word):
      if word == 'in' and words[i + 1 : i + 2] and words[i + 1][0] == '"':  # '5 in total' has no inches.
        continue
      for name, of in _COMPOUND_UNITS.get(found, {found: 1}).items():
        powers[name] = powers.get(name, 0) + sign * power * of
      sign, power, last = 1, 1, found if found in powers else ''
  return powers
