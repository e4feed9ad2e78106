"""Who follows trainings while they run: TensorBoard and, where a project is named, Weights & Biases.

All trainings of a workdir lie below one folder, so that `tensorboard --logdir WORKDIR/curves` shows them side by side;
what Weights & Biases keeps on disk lies there too. Keys are its own affair: it reads WANDB_API_KEY or ~/.netrc.
"""

from __future__ import annotations

import contextlib
import hashlib
import os
import tempfile
from collections.abc import Iterator, Mapping
from typing import Any, Protocol

from etils import epath

from sweb_jax import layout
from sweb_jax.runtime import files
from sweb_jax.training.events import EventFile


class WatchError(RuntimeError):
  """Weights & Biases cannot be told of trainings; the message says what to do."""


class Watcher(Protocol):
  """Is told of what a training measures."""

  def add(self, kind: str, step: int, seconds: float, values: Mapping[str, float]) -> None:
    """Takes the values of a step, of a kind as 'train'; `seconds` is Unix time."""

  def write(self) -> None:
    """Hands on what it has."""


class WandbRun:
  """A training as a run of a project; a training that goes on is the same run."""

  def __init__(self, root: epath.Path, name: str, project: str, settings: Mapping[str, Any]):
    import wandb

    # Libraries for object stores do not reach into its own writer.
    folder = tempfile.mkdtemp() if files.on_object_store(root) else os.fspath(root / layout.CURVES)
    os.makedirs(folder, exist_ok=True)
    quiet = {'console': 'off', 'silent': True, 'disable_git': True, 'disable_code': True}
    try:
      self._run = wandb.init(
        project=project,
        id=hashlib.sha256(f'{root} {name}'.encode()).hexdigest()[:16],
        name=name,
        group=root.name,
        config=dict(settings),
        dir=folder,
        resume='allow',
        reinit='create_new',  # Trainings run side by side in threads.
        # Nothing of the machine and of the command line goes out.
        settings=wandb.Settings(**quiet, x_disable_meta=True, x_disable_stats=True, x_disable_machine_info=True),
      )
    except wandb.Error as e:
      raise WatchError(f'config.train.wandb={project!r}: {e}; WANDB_MODE=offline keeps runs for `wandb sync`') from e
    self._begun = self._run.step

  def add(self, kind: str, step: int, seconds: float, values: Mapping[str, float]) -> None:
    """What the project has of an earlier part of the training is not sent again."""
    del seconds
    if step >= self._begun:
      self._run.log({f'{kind}/{name}': value for name, value in values.items()}, step=step)

  def write(self) -> None:
    """It writes by itself."""

  def close(self, failed: bool) -> None:
    """Waits until all is sent, or on disk."""
    self._run.finish(exit_code=int(failed))


def check(project: str, root: epath.Path) -> None:
  """Raises WatchError where trainings could not be told of: the package is missing, or there is no key."""
  if not project:
    return
  field = f'config.train.wandb={project!r}'
  try:
    import wandb
  except ImportError as e:
    raise WatchError(f"{field}: needs the wandb package: pip install 'sweb_jax[wandb]'") from e
  mode = os.environ.get('WANDB_MODE', 'online')
  if mode == 'offline' and files.on_object_store(root):
    raise WatchError(f'{field}: WANDB_MODE=offline needs a workdir on a disk')
  if mode == 'online' and not wandb.login(prompt=False):
    raise WatchError(f'{field}: there is no key: set WANDB_API_KEY, or `wandb login`; or WANDB_MODE=offline')


@contextlib.contextmanager
def watch(root: epath.Path, name: str, project: str, settings: Mapping[str, Any]) -> Iterator[tuple[Watcher, ...]]:
  """The watchers of a training.

  Args:
    root: the workdir.
    name: of the training, and of its folder below `layout.CURVES`.
    project: of Weights & Biases; '': TensorBoard alone.
    settings: of the training, for people who compare runs.

  Raises WatchError.
  """
  events = EventFile(root / layout.CURVES / name / layout.EVENTS)
  if not project:
    yield (events,)
    return
  run = WandbRun(root, name, project, settings)
  try:
    yield events, run
  except BaseException:
    run.close(failed=True)
    raise
  run.close(failed=False)
