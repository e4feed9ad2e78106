"""The families of models, and the implementations of each: where a second one would be named.

Free of JAX; the gemma library is imported where it is asked for.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from sweb_jax.models.decoder import IMPLEMENTATIONS, Decoder, DecoderError
from sweb_jax.models.gemma.config import SIZES as GEMMA
from sweb_jax.models.gemma.config import ModelConfig
from sweb_jax.models.gemma4.config import ABSENT as ABSENT
from sweb_jax.models.gemma4.config import SIZES as LATER
from sweb_jax.models.gemma4.config import Gemma3n, Gemma4

SIZES: Mapping[str, Decoder] = {**GEMMA, **LATER}
"""Named sizes of all families."""
_FAMILIES = {'gemma3n': Gemma3n, 'gemma4': Gemma4}
"""By the field `family` of a saved config; the others have none."""


def from_fields(fields: Mapping[str, Any]) -> Decoder:
  """The architecture whose `dataclasses.asdict` these are, lists in place of tuples, as JSON files hold them.

  Raises TypeError or ValueError where they are no architecture's.
  """
  return kind(fields)(**{k: tuple(v) if isinstance(v, list) else v for k, v in fields.items()})


def kind(fields: Mapping[str, Any]) -> type[Decoder]:
  """The class of the architecture that has these fields."""
  return _FAMILIES.get(str(fields.get('family')), ModelConfig)


def implement(config: Decoder, implementation: str) -> Decoder:
  """A model's architecture in the implementation of that name.

  Raises:
    DecoderError: no such implementation, or one that cannot compute this architecture; or the library is not there.
  """
  if implementation not in IMPLEMENTATIONS:
    raise DecoderError(f'implementation={implementation!r}: implementations are {" and ".join(IMPLEMENTATIONS)}')
  if implementation == config.implementation:
    return config
  if implementation == 'native':
    raise DecoderError(
      f'implementation=native: only the gemma library computes {type(config).__name__}; set '
      "config.implementation='gemma', or config.implementations for one model"
    )
  from sweb_jax.models import library  # A native run never imports the library.

  return library.of(config)
