"""A step of a study: one piece of work, its folder, what it reads, and the version of its result.

A step's version is a hash of the fields of the config that its result depends on, of the model files it reads, of the
format of its files, and of the versions of the steps it reads. Nothing else is in it: not the version of this package,
not a field that another step uses. How far a step goes (samples a problem, test problems, learning rates) is its
extent, and no part of the version: a step that has gone as far, or further, is done.
"""

from __future__ import annotations

import abc
import dataclasses
import functools
import hashlib
import json
from collections.abc import Hashable, Iterator, Mapping, Sequence
from typing import Any, ClassVar

from etils import epath

from sweb_jax.study import fields
from sweb_jax.study.context import Context
from sweb_jax.study.work import Assumed, Work


class Nothing(Exception):
  """A step's result is that there is nothing: what depends on it is skipped. The message is the reason."""

  def __init__(self, reason: str, counts: Mapping[str, int] | None = None):
    super().__init__(reason)
    self.counts = dict(counts or {})


@dataclasses.dataclass(frozen=True, eq=False, kw_only=True)
class Step(abc.ABC):
  """One node of the graph; a kind of step is a subclass, in a module of its own."""

  kind: ClassVar[str]
  stage: ClassVar[str]
  format: ClassVar[int] = 1
  """Of the files: raised when the same inputs would give another result, which makes all there is a former version."""
  derived: ClassVar[bool] = False
  """It is made again whenever what it reads differs, without being asked."""
  divided: ClassVar[bool] = True
  """Every process has a part in it; else the first does it."""

  settings: Mapping[str, Any]
  """Field of the config -> value, of those that the result depends on."""
  extent: Mapping[str, Any] = dataclasses.field(default_factory=dict)
  """How far the step goes. Numbers may have gone further; anything else must be equal."""
  identities: Mapping[str, Any] = dataclasses.field(default_factory=dict)
  """Model -> identity of the files that the step reads."""

  @property
  @abc.abstractmethod
  def folder(self) -> str:
    """Its place in the workdir."""

  @property
  @abc.abstractmethod
  def inputs(self) -> tuple[Step, ...]:
    """The steps whose files it reads."""

  @abc.abstractmethod
  def run(self, context: Context) -> None:
    """Does what is missing of it.

    Raises Nothing where the result is nothing.
    """

  def together(self, context: Context) -> Hashable | None:
    """Steps of one kind for which this is equal are handed to one call of `run_all`; None: it is by itself."""
    del context
    return None

  @classmethod
  def run_all(cls, context: Context, steps: Sequence[Step]) -> Mapping[str, Nothing]:
    """Runs steps that belong together; returns folder -> why its result is nothing, of those of which it is."""
    found = {}
    for step in steps:
      try:
        step.run(context)
      except Nothing as e:
        found[step.folder] = e
    return found

  def estimate(self, assumed: Assumed) -> Iterator[Work]:
    """What it takes, by the lengths and rates that are assumed; nothing that is worth a row by default."""
    del assumed
    return iter(())

  @property
  def items(self) -> int:
    """How far it moves the stage's meter: samples drawn, steps trained, or 1."""
    return 1

  @property
  def needs(self) -> tuple[Step, ...]:
    """Of `inputs`, those without a result of which this one has none."""
    return self.inputs

  @functools.cached_property
  def version(self) -> str:
    """16 hexadecimal digits."""
    inputs = {step.folder: step.version for step in self.inputs}
    settings = fields.versioned(as_json(self.settings))
    return digest([self.kind, self.format, self.folder, settings, as_json(self.identities), inputs])


class Training(Step):
  """A step whose result is a model."""

  @abc.abstractmethod
  def chosen(self, root: epath.Path) -> str:
    """The folder of the model below `root`, where the step is done."""


def digest(value: Any) -> str:
  """16 hexadecimal digits that name a JSON-like value."""
  return hashlib.sha256(json.dumps(value, sort_keys=True).encode()).hexdigest()[:16]


def as_json(value: Any) -> Any:
  """The value as JSON gives it back: tuples become lists."""
  return json.loads(json.dumps(value))
