"""A server as a generator of a study: how it is opened, and what is asked of it."""

from __future__ import annotations

import collections
import dataclasses
import os
import zlib
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from sweb_jax.config.default import ENDPOINT, ENDPOINT_FIELDS, ConfigError
from sweb_jax.models.reading import CheckpointError
from sweb_jax.models.source import Model
from sweb_jax.sampling.endpoint import Ask, Endpoint, EndpointError, Purse
from sweb_jax.study.recorded import counting, encoder, shape_of
from sweb_jax.tasks.rendering import Renderer

_VENDOR = 'https://api.openai.com/'
_MOST_SEED = 1 << 31


@dataclasses.dataclass(frozen=True)
class EndpointModel(Model):
  """A generator that answers over a network; its samples cannot be made again from a seed."""

  url: str
  said: Mapping[str, Any]
  """How it is asked, of `ENDPOINT_FIELDS`."""
  chat: bool
  renderer: Renderer | None
  """Counts tokens; None where the server is believed."""
  purse: Purse
  """Of all its requests in this process."""


def open_endpoint(name: str, source: str, said: Mapping[str, Any], chat: bool) -> EndpointModel:
  """Opens 'endpoint:URL#MODEL' as a generator; nothing is asked yet.

  The version of its samples knows the model and not the URL: where a server stands does not change what it draws.

  Raises ConfigError where the source is no URL with a model, or a tokenizer or shape is not there.
  """
  url, _, served = source.removeprefix(ENDPOINT).partition('#')
  if not url.startswith(('http://', 'https://')) or not served:
    raise ConfigError(f"config.models.{name}={source!r}: give 'endpoint:URL#MODEL', as http://localhost:8000/v1#gemma")
  if '@' in url.split('/')[2]:
    raise ConfigError(f'config.models.{name}: the URL holds a password or key; such is taken from the environment only')
  said, field = ENDPOINT_FIELDS | dict(said), f'config.endpoints.{name}'

  def refuse(*_, **__):
    raise CheckpointError(f'config.models.{name}={source!r}: an endpoint has no weights here')

  renderer = counting(f'{field}.tokenizer', said['tokenizer'], chat)
  shape = shape_of(f'{field}.parameters', said['parameters'])
  purse = Purse(said['limit'])
  return EndpointModel(
    shape, renderer and renderer.tokenizer, refuse, dict, served, 'endpoint', url, said, chat, renderer, purse
  )


def connect(name: str, model: EndpointModel, settings: Mapping[str, Any], stop: Sequence[str]) -> Endpoint:
  """The server, to be asked as the settings of a step say; `stop`: strings that end a completion.

  Raises EndpointError where the client library is missing.
  """
  try:
    import openai  # noqa: F401
  except ModuleNotFoundError as e:
    raise EndpointError(f"config.models.{name}: an endpoint needs {e.name}: pip install 'sweb_jax[endpoint]'") from e
  said, variable = model.said, model.said['key']
  # The vendor's own variable goes to the vendor only.
  key = os.environ.get(variable) or (os.environ.get('OPENAI_API_KEY') if model.url.startswith(_VENDOR) else None)
  return Endpoint(
    name=name,
    url=model.url,
    model=model.identity,
    key=key or '',
    key_from=variable,
    chat=model.chat,
    max_new_tokens=settings['sampling.max_new_tokens'],
    temperature=settings['sampling.temperature'],
    top_p=settings['sampling.top_p'],
    top_k=settings['sampling.top_k'],
    stop=tuple(stop),
    concurrency=said['concurrency'],
    retries=said['retries'],
    timeout=said['timeout'],
    encode=encoder(model.renderer),
  )


def asks(
  name: str, model: EndpointModel, prompts: Mapping[str, str], wanted: Sequence[tuple[str, int]], seed: int
) -> Iterator[Ask]:
  """Requests for (problem id, index), so many samples of a problem in each as the config says."""
  indices: dict[str, list[int]] = collections.defaultdict(list)
  for p, i in wanted:
    indices[p].append(i)
  for p, mine in indices.items():
    for at in range(0, len(mine), model.said['n']):
      some = tuple(mine[at : at + model.said['n']])
      drawn = zlib.crc32(f'{seed} {name} {p} {some[0]}'.encode()) % _MOST_SEED
      yield Ask(p, prompts[p], some, drawn if model.said['seeds'] else None)
