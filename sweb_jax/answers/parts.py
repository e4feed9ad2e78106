"""The structures that answers are read into, beside `leaves.Leaf`."""

from __future__ import annotations

import dataclasses

from sweb_jax.answers.values import Value


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
