"""What stands before a value: 'x =', 'f(x) =', '(x, y) =', 'AB =', 'a + b =', and which name the same thing."""

from __future__ import annotations

import re
from collections.abc import Sequence

from sweb_jax.answers import expression, latex

_NAME = r"(?:\\?[A-Za-z]+)(?:_\w+)?'*"
_NAMES = re.compile(rf'\(({_NAME}(?:,{_NAME})+)\)')
_LABEL = re.compile(rf'{_NAME}(?:\^-1)?(?:\({_NAME}(?:,{_NAME})*\)|\(-?[0-9]+\))?')
_FUNCTION = re.compile(rf'{_NAME}(?:\^-1)?\((.*)\)')
_VARIABLE = re.compile(r"(?:\\[A-Za-z]+|[A-Za-z])(?:_\w+)?'*")
_POLAR = (r'(r,\theta)', r'(r,\theta,z)', r'(\rho,\theta,\phi)', r'(\rho,\phi,\theta)')


def label(found: Sequence[str]) -> str:
  """The name that the tokens are (x, x_1, AB, f(x), f(3), f^{-1}(x), (x, y), words), or ''."""
  if not found:
    return ''
  if all(t[0] in '"\'' for t in found):
    return ''.join(found)
  if any(t[0] == '\\' and t not in expression.GREEK and t not in expression.UNIT_VECTORS for t in found):
    return ''
  text = ''.join(t for t in found if t not in '{}')
  if text in ('e', 'i'):
    return ''
  return text if _LABEL.fullmatch(text) or _NAMES.fullmatch(text) else ''


def asked(found: Sequence[str]) -> str:
  """The text of an expression whose value a problem may ask for (a + b, cos x, |AB|, V_1 : V_2), or ''.

  It has a name, and no number but in subscripts, exponents and arguments: 2x + z = 1 is an equation, whose right side
  says nothing.
  """
  skip, depth, named, before = 0, 0, False, ''
  for token in found:
    if token in latex.OPENING:
      depth += 1
      if not skip and (before in ('_', '^') or before in expression.FUNCTIONS or (token == '(' and before.isalpha())):
        skip = depth
    elif token in latex.CLOSING:
      skip = 0 if skip == depth else skip
      depth -= 1
    elif not skip:
      if token[0].isdigit() or (token[0] == '.' and token != '.'):
        if before not in ('_', '^') and before not in expression.FUNCTIONS:
          return ''
      elif token == ',':
        return ''
    named |= token.strip('"\'').isalpha() or token in expression.GREEK or token in expression.FUNCTIONS
    before = token
  return ''.join(t for t in found if t not in '{}') if named else ''


def same_thing(one: str, other: str) -> bool:
  """Whether two labels may name the same thing; 'y' is the value of a function of one name, words may mean anything.

  Two variables do not, nor do two segments or two functions; an expression (a + b) is the same as itself alone.
  """
  if one == other or '"' in one + other or "'" in one[:1] + other[:1]:
    return True
  for name, function in ((one, _FUNCTION.fullmatch(other)), (other, _FUNCTION.fullmatch(one))):
    if function and not _FUNCTION.fullmatch(name):
      return name == 'y' or not re.search('[A-Za-z]', function[1])
  kinds = [_kind(one), _kind(other)]
  if 'expression' in kinds:
    return False
  return kinds[0] != kinds[1] or (kinds[0] == 'segment' and sorted(one) == sorted(other))


def _kind(text: str) -> str:
  if text[0] == '(':
    return 'point'
  if _FUNCTION.fullmatch(text):
    return 'function'
  return 'variable' if _VARIABLE.fullmatch(text) else 'segment' if text.isalpha() and text.isupper() else 'expression'


def coordinates(text: str) -> tuple[str, list[int]] | None:
  """The names of '(y,x)' in the order in which points are written, '(x,y)', and their places; None of any other label.

  Known are polar, cylindrical and spherical coordinates, letters next to each other in the alphabet, and subscripts of
  one letter; other names stay in their order.
  """
  match = _NAMES.fullmatch(text)
  if not match:
    return None
  names = match[1].split(',')
  known = next((k[1:-1].split(',') for k in _POLAR if sorted(names) == sorted(k[1:-1].split(','))), None)
  letters = {ord(name[0]) for name in names}
  numbered = len(letters) == 1 and all('_' in name for name in names)
  neighbours = all(len(n) == 1 for n in names) and max(letters) - min(letters) == len(names) - 1
  if text in _POLAR or not (known or numbered or neighbours):
    known = names
  known = known or sorted(names)
  return f'({",".join(known)})', [names.index(name) for name in known]
