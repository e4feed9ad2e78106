"""The families of models, and the implementations of each: where a second one would be named.

Free of JAX; the gemma library, and what reads a family's files, are imported where they are asked for.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from types import ModuleType
from typing import Any

from sweb_jax.models.decoder import IMPLEMENTATIONS, Decoder, DecoderError, Opaque
from sweb_jax.models.gemma import config as gemma
from sweb_jax.models.gemma4 import config as gemma4
from sweb_jax.models.gemma4.config import ABSENT as ABSENT

SIZES: Mapping[str, Decoder] = {**gemma.SIZES, **gemma4.SIZES}
"""Architectures of all families by name."""
_FAMILIES = {'gemma3n': gemma4.Gemma3n, 'gemma4': gemma4.Gemma4}
"""By the field `family` of a saved config; the others have none."""


def of_fields(fields: Mapping[str, Any]) -> type[Decoder]:
  """The class whose fields these are."""
  return _FAMILIES.get(str(fields.get('family')), gemma.ModelConfig)


def differing(a: Decoder, b: Decoder) -> list[str]:
  """Names of the fields in which two architectures compute differently."""
  if type(a) is not type(b):
    return ['family']
  if isinstance(a, gemma.ModelConfig):
    return gemma.differing(a, b)
  return [f.name for f in dataclasses.fields(a) if getattr(a, f.name) != getattr(b, f.name)]


def facts(config: Decoder) -> dict[str, str]:
  """What an architecture is, for people: name to text."""
  return gemma.facts(config) if isinstance(config, gemma.ModelConfig) else gemma4.facts(config)


def from_fields(fields: Mapping[str, Any]) -> Decoder:
  """The architecture whose `dataclasses.asdict` these are, lists in place of tuples, as JSON files hold them.

  Raises TypeError or ValueError where they are no architecture's.
  """
  if fields.keys() == {'parameters'}:
    return Opaque(**fields)
  return of_fields(fields)(**{k: tuple(v) if isinstance(v, list) else v for k, v in fields.items()})


def implement(config: Decoder, implementation: str) -> Decoder:
  """A model's architecture in the implementation of that name; '' is native, or the library's where only that can.

  Raises:
    DecoderError: no such implementation, or one that cannot compute this architecture; or the library is not there.
  """
  if not implementation:
    return config
  if implementation not in IMPLEMENTATIONS:
    raise DecoderError(f'implementation={implementation!r}: implementations are {" and ".join(IMPLEMENTATIONS)}')
  if implementation == config.implementation:
    return config
  if implementation == 'native':
    raise DecoderError(
      f'implementation=native: {type(config).__name__} is computed by the gemma library alone; set '
      "config.implementation='gemma', or config.implementations for one model"
    )
  from sweb_jax.models import library  # A native run never imports the library.

  return library.of(config)


def huggingface(config: Decoder | None = None) -> ModuleType:
  """Who knows the Hugging Face directories of a family; without an architecture, the fields of `config.json` of all.

  A module with what `gemma.huggingface` has.
  """
  if config is not None and not isinstance(config, gemma.ModelConfig):
    from sweb_jax.models.gemma4 import huggingface
  else:
    from sweb_jax.models.gemma import huggingface
  return huggingface


def gguf() -> ModuleType:
  """Likewise of GGUF files: a module with what `gemma.gguf_reader` has."""
  from sweb_jax.models.gemma import gguf_reader

  return gguf_reader


def gguf_writer(config: Decoder) -> ModuleType:
  """A module with `save`, `rounded` and `without_spare_rows`. Raises DecoderError for a family without one."""
  if not isinstance(config, gemma.ModelConfig):
    raise DecoderError(f'GGUF files of {type(config).__name__} are not written here; take --format=hf')
  from sweb_jax.models.gemma import gguf_writer

  return gguf_writer
