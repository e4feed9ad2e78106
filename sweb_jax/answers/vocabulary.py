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
POWERS_OF_TEN = {'hundred': '100', 'thousand': '1000', 'million': '1000000', 'billion': '1000000000'}
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
    'celsius',
    'fahrenheit',
    'am',
    'pm',
  )
  for name in names.split()
}
LETTER_UNITS = frozenset('mgshlL')
DEGREE_UNITS = {'C': 'celsius', 'F': 'fahrenheit'}
PLAIN_UNITS = _set(
  'unit units square sq cubic degree degrees per way ways point points people student students piece pieces'
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
    '≈': r'\approx ',
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
  **dict.fromkeys((r'\leq', r'\leqslant', '<='), r'\le'),
  **dict.fromkeys((r'\geq', r'\geqslant', '>='), r'\ge'),
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
  **dict.fromkeys((r'\lvert', r'\rvert', r'\vert', r'\mid'), '|'),
  **dict.fromkeys((r'\sim', r'\simeq', r'\thickapprox', r'\doteq'), r'\approx'),
  **dict.fromkeys((r'\varnothing',), r'\emptyset'),
  **dict.fromkeys((r'\land', r'\wedge', r'\lor', r'\vee', ';'), ','),
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
}
DROPPED = _set(
  r'\left \right \big \Big \bigg \Bigg \bigl \bigr \Bigl \Bigr \biggl \biggr \middle \, \! \; \: \> \( \) \[ \] \$ $ ~'
  r' \quad \qquad \displaystyle \textstyle \scriptstyle \limits \rm \bf \it \tt \/ \thinspace \hfill \noindent \$ € £'
  r' \textdollar \angle \triangle \hline \allowbreak \nobreak \strut \mathstrut \-'
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
    r'\bold',
    r'\mathbin',
    r'\mathop',
    r'\ensuremath',
  )
)
MATRICES = frozenset(('matrix', 'pmatrix', 'bmatrix', 'smallmatrix', 'Bmatrix', 'array'))


def unit(word: str) -> str | None:
  """The one name of a unit of measure that must agree where both answers have one ('feet' -> 'foot'), or None."""
  return _UNITS.get(word) or _UNITS.get(word.removesuffix('s'))
