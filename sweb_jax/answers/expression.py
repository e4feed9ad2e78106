"""A small recursive-descent parser of formulas in the tokens of `latex`.

    sum      [+-] product ([+-] product)*
    product  factor ((* | / | nothing) factor)*
    factor   atom (! | % | deg)* [^ exponent]
    atom     number, name, group, |x|, \\frac, \\sqrt, \\binom, functions

A formula becomes nested tuples: `('+', ('number', Fraction(1)), ('name', 'x'))`. Nothing is evaluated here (`values`),
and nesting is bounded.
"""

from __future__ import annotations

import math
import re
from fractions import Fraction

MAX_NESTING = 40
"""Productions inside productions."""

Node = tuple


def _set(names: str) -> frozenset[str]:
  return frozenset(names.split())


GREEK = _set(
  r'\alpha \beta \gamma \delta \epsilon \varepsilon \zeta \eta \theta \vartheta \iota \kappa \lambda \mu \nu \xi \rho'
  r' \sigma'
  r' \tau \phi \varphi \chi \psi \omega \Gamma \Delta \Theta \Lambda \Sigma \Phi \Psi \Omega'
)
UNIT_VECTORS = _set(r'\veci \vecj \veck')
TRIGONOMETRIC = _set(r'\sin \cos \tan \cot \sec \csc')
FUNCTIONS = TRIGONOMETRIC | _set(r'\arcsin \arccos \arctan \sinh \cosh \tanh \log \ln \lg \exp')
_OPENERS = frozenset((r'\frac', r'\sqrt', r'\binom', r'\pi', r'\infty', '(', '{', '[', r'\lfloor', r'\lceil'))
_STARTS = FUNCTIONS | GREEK | UNIT_VECTORS | _OPENERS
_NUMBER = re.compile(r'([0-9]*)(?:\.([0-9]*))?(?:[eE]([-+]?[0-9]+))?', re.ASCII)


class ParseError(ValueError):
  """The tokens are no formula that this module reads."""


class _Parser:
  def __init__(self, found: tuple[str, ...]):
    self.tokens = list(found)
    self.i = 0
    self.depth = 0
    self.bars = 0

  def peek(self) -> str:
    return self.tokens[self.i] if self.i < len(self.tokens) else ''

  def take(self, expected: str = '') -> str:
    token = self.peek()
    if not token or (expected and token != expected):
      raise ParseError(f'expected {expected or "more"}')
    self.i += 1
    return token

  def deeper(self) -> None:
    self.depth += 1
    if self.depth > MAX_NESTING:
      raise ParseError('nested too deeply')

  def sum(self) -> Node:
    self.deeper()
    terms = []
    sign = 1
    while self.peek() in ('+', '-'):
      sign = -sign if self.take() == '-' else sign
    while True:
      term = self.product()
      terms.append(term if sign == 1 else ('-', term))
      if self.peek() not in ('+', '-'):
        break
      sign = 1
      while self.peek() in ('+', '-'):
        sign = -sign if self.take() == '-' else sign
    self.depth -= 1
    return terms[0] if len(terms) == 1 else ('+', *terms)

  def product(self) -> Node:
    factors = [self.factor()]
    while True:
      token = self.peek()
      if token in ('*', '/'):
        self.take()
        negative = False
        while self.peek() in ('-', '+'):
          negative ^= self.take() == '-'
        factor = self.factor()
        if negative:
          factor = ('-', factor)
        factors.append(factor if token == '*' else ('inverse', factor))
      elif self.starts(token) and not (token == '|' and self.bars):
        # '2 3' is no number, but 2^3 3 and \frac{1}{2}3 are products: braces have shown where a number ends.
        before = self.tokens[self.i - 1][0]
        if factors[-1][0] == 'number' and all(t.isdigit() or t == '.' for t in (before, token[0])):
          raise ParseError('two numbers side by side')
        factors.append(self.factor())
      else:
        return factors[0] if len(factors) == 1 else ('*', *factors)

  @staticmethod
  def starts(token: str) -> bool:
    return (
      token in _STARTS
      or token == '|'
      or (token[:1].isalnum() and token != 'deg')
      or (len(token) > 1 and token[0] == '.')
    )

  def factor(self) -> Node:
    self.deeper()
    node = self.postfix(self.atom())
    if self.peek() == '^':
      self.take()
      node = self.postfix(('^', node, self.exponent()))
    self.depth -= 1
    return node

  def postfix(self, node: Node) -> Node:
    for _ in range(4):
      token = self.peek()
      if token == '!':
        node = ('factorial', node)
      elif token == '%':
        node = ('*', node, ('number', Fraction(1, 100)))
      elif token == 'deg':
        node = ('degrees', node)
      else:
        break
      self.take()
    return node

  def exponent(self) -> Node:
    if self.peek() == '-':
      self.take()
      return ('-', self.exponent_atom())
    return self.exponent_atom()

  def exponent_atom(self) -> Node:
    self.deeper()
    node = self.atom()
    if self.peek() == '^':
      self.take()
      node = ('^', node, self.exponent())
    self.depth -= 1
    return node

  def argument(self) -> Node:
    """The group or the single digit, letter or command after \\frac or \\sqrt."""
    token = self.peek()
    if token.isdigit() and len(token) > 1:
      self.tokens[self.i] = token[1:]
      return ('number', Fraction(int(token[0])))
    self.deeper()
    node = self.atom()
    self.depth -= 1
    return node

  def group(self, closing: str) -> Node:
    bars, self.bars = self.bars, 0
    node = self.sum()
    self.take(closing)
    self.bars = bars
    return node

  def atom(self) -> Node:
    token = self.take()
    if token[0].isdigit() or token[0] == '.':
      return self.number(token)
    if token == '(':
      return self.group(')')
    if token == '[':
      return self.group(']')
    if token == '{':
      return self.group('}')
    if token == '|':
      self.deeper()
      self.bars += 1
      node = ('abs', self.sum())
      self.take('|')
      self.bars -= 1
      self.depth -= 1
      return node
    if token == r'\frac':
      top = self.argument()
      return ('*', top, ('inverse', self.argument()))
    if token == r'\sqrt':
      return self.root()
    if token == r'\binom':
      top = self.argument()
      return ('binomial', top, self.argument())
    if token in (r'\lfloor', r'\lceil'):
      return (token[1:], self.group(r'\r' + token[2:]))
    if token in FUNCTIONS:
      return self.function(token)
    if token == r'\pi':
      return ('pi',)
    if token == r'\infty':
      return ('infinity',)
    if (len(token) == 1 and token.isalpha()) or token in GREEK or token in UNIT_VECTORS:
      return self.name(token)
    raise ParseError(f'{token} is not read')

  def number(self, token: str) -> Node:
    if ' ' in token:  # '1 1/2'
      whole, fraction = token.split(None, 1)
      top, bottom = fraction.split('/')
      if not int(bottom):
        raise ParseError('division by zero')
      return ('number', int(whole) + Fraction(int(top), int(bottom)))
    value = number_value(token)
    if self.peek() == r'\frac' and token.isdigit():
      if (part := self.mixed()) is not None:
        return ('number', value + part)
    elif self.peek() == r'\overline' and '.' in token:
      self.take()
      digits = ''.join(self.tokens[self.i : self.i + 3]).strip('{}')
      if not re.fullmatch('[0-9]+', digits, re.ASCII):
        raise ParseError('a repeating part must be digits')
      self.i += 3 if self.peek() == '{' else 1
      places = len(token.partition('.')[2])
      return ('number', value + Fraction(int(digits), 10**places * (10 ** len(digits) - 1)))
    return ('number', value)

  def mixed(self) -> Fraction | None:
    """The proper fraction of plain numbers after a whole number, 1\\frac{1}{2}; None where it is a product."""
    found = re.match(
      r'\\frac(?:\{([0-9]+)\}|([0-9]))(?:\{([0-9]+)\}|([0-9]+))', ''.join(self.tokens[self.i : self.i + 7])
    )
    if not found:
      return None
    top, bottom = found[1] or found[2], found[3] or found[4]
    if found[2] and found[4] and self.tokens[self.i + 1] != found[2]:  # '\frac12' is one token '12'.
      if len(self.tokens[self.i + 1]) != 2:
        return None
      used = 2
      bottom = self.tokens[self.i + 1][1]
    else:
      used = 1 + (3 if found[1] else 1) + (3 if found[3] else 1)
      if found[4] and self.tokens[self.i + used - 1] != found[4]:
        return None
    if not 0 < int(top) < int(bottom):
      return None
    self.i += used
    return Fraction(int(top), int(bottom))

  def root(self) -> Node:
    index = Fraction(2)
    if self.peek() == '[':
      self.take()
      token = self.take()
      if not token.isdigit() or len(token) > 3 or not int(token):
        raise ParseError('the index of a root must be a small whole number')
      index = Fraction(int(token))
      self.take(']')
    if self.peek().isdigit():  # 'sqrt12', as people write it without braces.
      return ('root', ('number', number_value(self.take())), index)
    return ('root', self.argument(), index)

  def name(self, token: str) -> Node:
    if self.peek() == '_':
      self.take()
      if self.peek() == '{':
        start = self.i
        while self.take() != '}':
          pass
        token += '_' + ''.join(self.tokens[start + 1 : self.i - 1])
      else:
        token += '_' + self.take()
    while self.peek() == "'":
      token += self.take()
    if token == 'e':
      return ('number', math.e)
    return ('number', 1j) if token == 'i' else ('name', token)

  def function(self, name: str) -> Node:
    power = base = None
    for _ in range(2):
      if self.peek() == '^' and power is None:
        self.take()
        power = self.exponent()
      elif self.peek() == '_' and name == r'\log' and base is None:
        self.take()
        base = self.exponent_atom()
    if power == ('-', ('number', Fraction(1))) and name in TRIGONOMETRIC:
      name, power = r'\arc' + name[1:], None
    self.deeper()
    if self.peek() in ('(', '{', '['):
      argument = self.factor_without_power()
    else:
      factors = []
      negative = self.peek() == '-' and bool(self.take())
      while (
        self.starts(self.peek())
        and self.peek() not in ('(', '[', *FUNCTIONS)
        and not (self.peek() == '|' and self.bars)
      ):
        factors.append(self.factor())
        if self.peek() == '/' and self.i + 1 < len(self.tokens) and self.tokens[self.i + 1].isdigit():
          self.take()
          factors.append(('inverse', self.factor()))
      if not factors and self.peek() in FUNCTIONS:
        factors.append(self.factor())
      if not factors:
        raise ParseError(f'{name} of nothing')
      argument = ('*', *factors)
      if negative:
        argument = ('-', argument)
    self.depth -= 1
    node = ('call', name[1:], argument, base) if base else ('call', name[1:], argument)
    return node if power is None else ('^', node, power)

  def factor_without_power(self) -> Node:
    return self.postfix(self.atom())


def number_value(token: str) -> Fraction:
  """The exact value of '12', '0.5' or '1.2e5'. Raises ParseError where the exponent has more than 3 digits."""
  found = _NUMBER.fullmatch(token)
  if not found or token == '':
    raise ParseError(f'{token} is no number')
  power = int(found[3]) if found[3] and len(found[3].lstrip('+-')) <= 3 else None
  if found[3] and power is None:
    raise ParseError('the exponent is too large')
  value = Fraction(int(f'0{found[1]}{found[2] or ""}'), 10 ** len(found[2] or ''))
  return value * Fraction(10) ** power if power else value


def parse(found: tuple[str, ...]) -> Node:
  """The formula in nested tuples. Raises ParseError where the tokens are no formula or nest too deeply."""
  parser = _Parser(found)
  node = parser.sum()
  if parser.peek():
    raise ParseError(f'{parser.peek()} is left over')
  return node


def names(node: Node) -> frozenset[str]:
  """The names in a formula; 'e', 'i' and pi are numbers."""
  if node[0] == 'name':
    return frozenset((node[1],))
  return frozenset().union(*(names(child) for child in node[1:] if isinstance(child, tuple)))
