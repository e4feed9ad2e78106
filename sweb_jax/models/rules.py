"""What the names of parameters mean, over all families: where one lives, how an adapter gives it. No JAX.

A family's own `rules` are joined to these here.
"""

from __future__ import annotations

from sweb_jax.models.gemma import rules as gemma

FACTORS = gemma.FACTORS
"""(Pattern of a parameter's name, how the two factors of its adapter give it)."""


def axes(name: str, shape: tuple[int, ...]) -> tuple[str | None, ...]:
  """Mesh axes of the dimensions of a parameter, or of what is kept of one under its name; () where it is whole."""
  return gemma.axes(name, shape)


def stored_name(name: str) -> str:
  """The name of a parameter by its name in an Orbax folder of whatever origin; '' for what does not read text."""
  return gemma.stored_name(name)
