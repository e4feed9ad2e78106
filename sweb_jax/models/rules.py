"""What the names of parameters mean, over all families: where one lives, how an adapter gives it. No JAX.

A family's own `rules` are joined to these here.
"""

from __future__ import annotations

from sweb_jax.models.gemma import rules as gemma
from sweb_jax.models.gemma4 import rules as gemma4

FACTORS = (*gemma4.FACTORS, *gemma.FACTORS)
"""(Pattern of a parameter's name, how the two factors of its adapter give it)."""


def axes(name: str, shape: tuple[int, ...]) -> tuple[str | None, ...]:
  """Mesh axes of the dimensions of a parameter, or of what is kept of one under its name; () where it is whole."""
  found = gemma4.axes(name, shape)
  return gemma.axes(name, shape) if found is None else found


def stored_name(name: str, shape: tuple[int, ...]) -> str:
  """The name of a parameter by its name in an Orbax folder of whatever origin; '' for what does not read text."""
  return gemma.stored_name(name, shape)
