"""The structures that answers are read into: leaves, several parts, relations."""

from __future__ import annotations

import dataclasses

from sweb_jax.answers.values import Value


@dataclasses.dataclass(frozen=True)
class Leaf:
  """A formula, a word or a number of another base."""

  text: str
  """Normal form; equal texts are equal answers."""
  node: tuple | None = None
  values: tuple[Value, ...] = ()
  """One value of a constant, `values.POINTS` of a formula with names; empty where there is none."""
  dimension: tuple[tuple[str, int], ...] = ()
  """Units that are known, with their powers: (('meter', 1), ('second', -2)) of '5 m/s^2'."""
  places: int = -1
  """Fewest decimal places of its numbers; -1 where none has a decimal point."""
  digits: int = 0
  """Fewest significant digits of its numbers with a decimal point, without zeros at either end."""
  single: bool = False
  """It is one number, with a sign or not."""
  percent: bool = False
  """A percent sign stood at its end; `values` is without it."""
  hundredths: bool = False
  """Its value is that of a number in percent, divided by 100."""
  words: bool = False
  base: tuple[str, str] | None = None
  """Digits and base of a number such as 11_4."""
  fraction: tuple[int, int] | None = None
  """Numerator and denominator where it is written as a fraction of whole numbers, reduced or not."""

  @property
  def constant(self) -> bool:
    """Whether it has one value."""
    return len(self.values) == 1


@dataclasses.dataclass(frozen=True)
class Parts:
  """Several parts.

  Kinds: 'list', 'set', 'union', 'intersection', 'difference', 'where' (the conditions of a set-builder), 'and' and 'or'
  of conditions, 'ratio', 'row' of a 'matrix', 'system', or a pair of brackets such as '[)'.
  """

  kind: str
  items: tuple


@dataclasses.dataclass(frozen=True)
class Relation:
  """parts[0] op parts[1] op ...; '>' is turned round. `label = value` has one operator, '='."""

  operators: tuple[str, ...]
  parts: tuple
  label: str = ''
  """Of a 'name = value': the name; else ''."""
  difference: tuple[Value, ...] = ()
  """Of one operator between formulas: left minus right at the fixed points."""
