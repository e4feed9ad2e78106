"""A config with what it names: its models by their headers, its tasks, and the graph of its steps. No compute."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping

from etils import epath
from ml_collections import ConfigDict

from sweb_jax import layout, tasks
from sweb_jax.config import ConfigError, default, mesh_of, rules_of, transfer_task
from sweb_jax.models import decoder
from sweb_jax.models.source import Model
from sweb_jax.runtime import files, hub
from sweb_jax.runtime.hosts import Hosts
from sweb_jax.study.context import Context, open_variants
from sweb_jax.study.endpoint import EndpointModel
from sweb_jax.study.estimate import assumed
from sweb_jax.study.graph import Graph, graph
from sweb_jax.study.recorded import RecordedModel
from sweb_jax.study.state import State, state
from sweb_jax.study.work import Assumed, Rates
from sweb_jax.tasks import data_files
from sweb_jax.training import lora

_SHOWN = 8
"""Folders that a message names."""


@dataclasses.dataclass(frozen=True)
class Study:
  """One config, opened."""

  config: ConfigDict
  variants: Mapping[str, tuple[Model, ...]]
  tasks: Mapping[str, tasks.Task]
  """Split -> the task that its problems are of; empty where a plan goes without data."""
  graph: Graph
  unchecked: tuple[str, ...] = ()
  """What could not be looked at, and why."""

  @property
  def parameters(self) -> dict[str, int]:
    """Model -> number of parameters that a token has to do with, by which work is counted."""
    return {name: variants[0].config.active_parameters for name, variants in self.variants.items()}

  def assumed(self, root: epath.Path, rates: Rates | None = None) -> Assumed:
    """What a plan assumes, and how many examples there are where a workdir has them already."""
    found = {}
    for step in self.graph.steps if self.config.train.epochs else ():
      path = root / step.folder / layout.EXAMPLES
      if step.kind == 'examples' and state(root, step) is State.DONE and path.exists():
        found[step.folder] = len(path.read_bytes().splitlines())
    return assumed(self.config, self.parameters, found, rates)

  def context(self, root: epath.Path, hosts: Hosts) -> Context:
    """What the steps are run with."""
    c = self.config
    return Context(
      root=root,
      variants=self.variants,
      tasks=self.tasks,
      costs=self.graph.arms.costs,
      share_prefix=c.cost.share_prefix,
      mesh_axes={name: mesh_of(c, name) for name in ('', *c.learners)},
      draw_on=c.engine.draw_on,
      drawing_dtype=c.sampling.dtype,
      slots=c.engine.slots,
      steps=c.engine.steps,
      kernels=c.engine.kernels,
      remat=c.train.remat,
      micro_batches=c.train.micro_batches,
      side_by_side=c.train.side_by_side,
      peak_flops=c.train.peak_flops,
      save_seconds=c.train.save_seconds,
      wandb=c.train.wandb,
      hosts=hosts,
    )


def open_study(config: ConfigDict, *, without_data: bool = False) -> Study:
  """Opens a valid config.

  Args:
    config: of the study.
    without_data: where no folder of data is named that is no error: what cannot be checked is.

  Raises:
    CheckpointError, DecoderError, LoraError, TokenizerError, TaskError, BudgetError, ConfigError, JudgeError: the
      message names the field.
  """
  variants = open_models(config, without_data=without_data)
  shapes = {name: v[0].config for name, v in variants.items()}
  made = graph(config, shapes, {name: tuple(m.identity for m in v) for name, v in variants.items()})
  unchecked = [
    f'config.models.{name} is a shape without weights: nothing is known of its files and tokenizer'
    for name, v in variants.items()
    if v[0].tokenizer is None and not isinstance(v[0], RecordedModel | EndpointModel)
  ]
  unchecked += [
    f'config.models.{name}: {m.recording.source}: no such file'
    for name, v in variants.items()
    for m in v
    if isinstance(m, RecordedModel) and not m.recording.paths
  ]
  opened: dict[str, tasks.Task] = {}
  for field, data_dir in _data_dirs(config):
    if folder := _folder(data_dir):
      _check_folder(field, data_dir, folder)
  try:
    config = _pinned(config)
    opened = _tasks(config)
  except tasks.TaskError as e:
    if not without_data or _folder(config.data_dir):
      raise
    unchecked.append(f'problems, prompts and solutions: {e}')
  _check_votes(config, opened)
  return Study(config, variants, opened, made, tuple(unchecked))


def open_models(config: ConfigDict, *, without_data: bool = False) -> dict[str, tuple[Model, ...]]:
  """The models of a valid config, each in the implementation that it asks for.

  Args:
    config: of the study.
    without_data: files of samples that are not there are no error.

  Raises:
    CheckpointError, DecoderError, TokenizerError: as `open_variants`.
    DecoderError: the implementation of a learner cannot do `config.train.remat` or `side_by_side`.
    LoraError: a learner has no weight for the adapters that are asked for.
  """
  t = config.train
  implementations = {name: config.implementations.get(name, config.implementation) for name in config.models}
  said = config.recorded.to_dict(), config.endpoints.to_dict()
  variants = open_variants(config.models, config.chat, implementations, *said, without_data=without_data)
  for name, (model, *_) in variants.items():
    if name in config.learners and (config.generators or config.gold):
      decoder.check_remat(model.config, t.remat)
      decoder.check_side_by_side(model.config, t.side_by_side)
      if t.lora.rank:
        lora.adapted(model.config.shapes(), lora.Lora(t.lora.rank, t.lora.alpha, t.lora.targets))
  return variants


def _data_dirs(config: ConfigDict) -> list[tuple[str, str]]:
  """Field and value, for the study's own and for further test sets."""
  tests = ((f'config.transfer.{name}.data_dir', test.get('data_dir', '')) for name, test in config.transfer.items())
  return [('config.data_dir', config.data_dir), *tests]


def _folder(data_dir: str) -> epath.Path | None:
  """The folder of this machine that is named, if one is."""
  folder = data_dir.removeprefix(data_files.TFDS)
  here = folder and not hub.is_named(folder) and not files.on_object_store(folder)
  return epath.Path(folder) if here else None


def _check_folder(field: str, data_dir: str, folder: epath.Path) -> None:
  """Raises ConfigError where it is no folder; says what there is."""
  if folder.is_dir():
    return
  near = next(p for p in files.absolute(folder).parents if p.is_dir())
  names = sorted(p.name for p in near.iterdir() if p.is_dir() and not p.name.startswith('.'))
  some = ', '.join(names[:_SHOWN]) + (f' and {len(names) - _SHOWN} more' if len(names) > _SHOWN else '')
  raise ConfigError(
    f'{field}={data_dir!r}: {"is a file" if folder.exists() else "there is no such folder"}; {near} holds '
    f'{f"the folders {some}" if names else "no folders"}'
  )


def _pinned(config: ConfigDict) -> ConfigDict:
  """The config with data of the hub named by their commit, as the workdir's config.json keeps it."""
  config = config.copy_and_resolve_references()
  tests = ((test, f'config.transfer.{name}.data_dir') for name, test in config.transfer.items())
  for section, field in ((config, 'config.data_dir'), *tests):
    if hub.is_named(section.get('data_dir', '')):
      try:
        section.data_dir = hub.fetch(section.data_dir, 'dataset', hub.DATA_FILES)[1]
      except hub.HubError as e:
        raise tasks.TaskError(f'{field}: {e}') from e
  return config


def _tasks(config: ConfigDict) -> dict[str, tasks.Task]:
  own = tasks.from_config(config.task, config.data_dir)
  found = dict.fromkeys(tasks.SPLITS, own)
  for name, test in config.transfer.items():
    try:
      task = tasks.from_config(transfer_task(config, name), test.get('data_dir') or config.data_dir)
      if config.sampling.few_shot:
        task.few_shot()  # The learner before fine-tuning reads them.
    except tasks.TaskError as e:
      raise ConfigError(f'config.transfer.{name}: {transfer_message(name, str(e))}') from e
    found[layout.transfer(name)] = task
  if config.sampling.few_shot:
    own.few_shot()
  return found


def transfer_message(name: str, message: str) -> str:
  """A task's message with the fields of a further test set in place of the study's."""
  own = f'config.transfer.{name}.'
  fields = {'config.task.name': f'{own}task', 'config.task.': own, 'config.data_dir': f'{own}data_dir'}
  for field, here in fields.items():
    message = message.replace(field, here)
  return message


def _check_votes(config: ConfigDict, opened: Mapping[str, tasks.Task]) -> None:
  """Raises ConfigError for votes among answers that cannot be compared."""
  if not opened or opened['test'].same is not None:
    return
  what = config.task.answer or config.task.name
  why = f'answers of {what} are not compared with each other, and so not counted as votes'
  if config.evaluate.maj_k:
    raise ConfigError(f'config.evaluate.maj_k={config.evaluate.maj_k!r}: {why}; leave it empty')
  for variant in (None, *config.variants):
    if rules_of(config, variant)['filter'] == 'majority':
      field = f'variants.{variant}' if variant else 'data'
      raise ConfigError(f"config.{field}.filter='majority': {why}; name another filter")


def read_config(root: epath.Path) -> ConfigDict:
  """The config of a workdir's last run; fields that there were not yet have their defaults.

  Raises OSError or ValueError, which name the file.
  """
  found = ConfigDict(files.read_json(root / layout.CONFIG))

  def fill(section: ConfigDict, known: ConfigDict) -> None:
    for field, value in known.items():
      if field not in section:
        section[field] = value
      elif isinstance(value, ConfigDict) and isinstance(section[field], ConfigDict):
        fill(section[field], value)

  fill(found, default())
  return found
