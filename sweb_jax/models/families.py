"""The families of models, and the implementations of each: where a second one would be named.

Free of JAX; the gemma library is imported where it is asked for.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from sweb_jax.models.decoder import IMPLEMENTATIONS, Decoder, DecoderError, Opaque
from sweb_jax.models.gemma.config import ModelConfig


def from_fields(fields: Mapping[str, Any]) -> Decoder:
  """The architecture whose `dataclasses.asdict` these are, lists in place of tuples, as JSON files hold them.

  Raises TypeError or ValueError where they are no architecture's.
  """
  if fields.keys() == {'parameters'}:
    return Opaque(**fields)
  return ModelConfig(**{k: tuple(v) if isinstance(v, list) else v for k, v in fields.items()})


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
    raise DecoderError(f'implementation=native: {type(config).__name__} has no native implementation')
  from sweb_jax.models import library  # A native run never imports the library.

  return library.of(config)
