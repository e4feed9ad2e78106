"""How a step stands to what a workdir has of it."""

from __future__ import annotations

import dataclasses
import enum
import time
from collections.abc import Mapping
from typing import Any

from etils import epath

from sweb_jax import layout
from sweb_jax.runtime import files, manifest
from sweb_jax.runtime.manifest import Manifest
from sweb_jax.study import fields
from sweb_jax.study.step import Step, as_json, digest

NOT_KNOWN = enum.Enum('NotKnown', {'NOT_KNOWN': 'not known'}).NOT_KNOWN
"""In place of the value of a field that a version of this package has not, or had not."""


class State(enum.StrEnum):
  """How a step's folder stands to what is wanted."""

  DONE = 'reused'
  BEGUN = 'begun'
  """Of this version, and not finished."""
  SHORT = 'grown'
  """Of this version, finished, and not gone far enough."""
  NEW = 'new'
  CHANGED = 'changed'
  """Of another version."""
  FOREIGN = 'of unknown origin'
  """Files without a manifest."""


def of(step: Step) -> Manifest:
  """The manifest of a step that is begun."""
  inputs = {i.folder: i.version for i in step.inputs}
  return Manifest(step.version, step.kind, step.format, as_json(step.settings), as_json(step.identities), inputs)


def state(root: epath.Path, step: Step) -> State:
  """How the step's folder stands to the step."""
  found = manifest.read(root, step.folder)
  if found is None:
    return State.FOREIGN if _holds_files(root / step.folder) else State.NEW
  if found.version != step.version:
    return State.CHANGED
  if not found.done:
    return State.BEGUN
  return State.DONE if manifest.far_enough(found.extent, as_json(step.extent)) else State.SHORT


def finish(root: epath.Path, step: Step, begun: float, nothing: str = '', counts: Mapping[str, int] | None = None):
  """Marks a step as done; `begun` is the `time.time()` of its start."""
  before = manifest.read(root, step.folder)
  taken = time.time() - begun + (before.seconds if before else 0.0)
  manifest.write(
    root,
    step.folder,
    dataclasses.replace(
      of(step),
      extent=as_json(step.extent),
      done=True,
      seconds=round(taken, 3),
      nothing=nothing,
      counts=dict(counts or {}),
      files=manifest.checksums(root / step.folder, before.files if before else {}),
    ),
  )


def differences(step: Step, found: Manifest) -> dict[str, tuple[Any, Any]]:
  """What of a step itself is another than when it was made: field -> what it was and what it is.

  Empty where only the steps that it reads are others. A field that there was not yet had its value of `fields.LATER`,
  or is NOT_KNOWN.
  """
  wanted = of(step)
  both = [
    (f'config.{k}', *(s.get(k, fields.LATER.get(k, NOT_KNOWN)) for s in (found.settings, wanted.settings)))
    for k in {**found.settings, **wanted.settings}
  ]
  both += [
    (f'the files of {k}', found.identities.get(k), wanted.identities.get(k))
    for k in {**found.identities, **wanted.identities}
  ]
  both.append(('the format of its files', found.format, wanted.format))
  both.append(('what it reads', sorted(found.inputs), sorted(wanted.inputs)))
  return {name: (old, new) for name, old, new in both if old != new}


def supersede(root: epath.Path, folder: str) -> epath.Path:
  """Moves a step's folder to `superseded/`, and returns where it is now."""
  found = manifest.read(root, folder)
  name = found.version if found else digest(folder)
  return files.set_aside(root / folder, root / layout.SUPERSEDED / folder / name)


def _holds_files(folder: epath.Path) -> bool:
  return next(manifest.below(folder), None) is not None
