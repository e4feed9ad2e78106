"""The families of models, and the implementations of each: where a second one would be named.

Free of JAX; the gemma library, and what reads a family's files, are imported where they are asked for.
"""

from __future__ import annotations

from collections.abc import Mapping
from types import ModuleType
from typing import Any

from sweb_jax.models.decoder import IMPLEMENTATIONS, Decoder, DecoderError
from sweb_jax.models.gemma import config as gemma

SIZES = gemma.SIZES
"""Architectures by name."""
LATER = gemma.LATER
"""What is said of later models, which are refused."""
differing = gemma.differing
"""(a, b) -> names of the fields in which two architectures of a family compute differently."""
facts = gemma.facts
"""What an architecture is, for people: name to text."""


def of_fields(fields: Mapping[str, Any]) -> type[Decoder]:
  """The class whose fields these are: a second family's would be told by a field that it alone has."""
  del fields
  return gemma.ModelConfig


def from_fields(fields: Mapping[str, Any]) -> Decoder:
  """The architecture whose `dataclasses.asdict` these are, lists in place of tuples, as JSON files hold them.

  Raises TypeError or ValueError where they are no architecture's.
  """
  return of_fields(fields)(**{k: tuple(v) if isinstance(v, list) else v for k, v in fields.items()})


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
      f'implementation=native: {type(config).__name__} is computed by the gemma library alone; say implementation=gemma'
    )
  from sweb_jax.models import library  # A native run never imports the library.

  return library.of(config)


def huggingface() -> ModuleType:
  """Who knows the families' Hugging Face directories: a module with what `gemma.huggingface` has.

  A second family would be told by the `model_type` that is read, or by the decoder that is written.
  """
  from sweb_jax.models.gemma import huggingface

  return huggingface


def gguf() -> ModuleType:
  """Likewise of GGUF files: a module with what `gemma.gguf_reader` has."""
  from sweb_jax.models.gemma import gguf_reader

  return gguf_reader
