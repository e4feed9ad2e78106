"""A config with what it names: its models by their headers, its tasks, and the graph of its steps. No compute."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping

from etils import epath
from ml_collections import ConfigDict

from sweb_jax import layout, tasks
from sweb_jax.config import ConfigError, rules_of
from sweb_jax.models import decoder
from sweb_jax.models.source import Model
from sweb_jax.runtime import files
from sweb_jax.runtime.hosts import Hosts
from sweb_jax.study.context import Context, open_variants
from sweb_jax.study.estimate import assumed
from sweb_jax.study.graph import Graph, graph
from sweb_jax.study.state import State, state
from sweb_jax.study.work import Assumed, Rates


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
    """Model -> number of parameters."""
    return {name: variants[0].config.parameters for name, variants in self.variants.items()}

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
      mesh_axes=c.mesh.to_dict(),
      draw_on=c.engine.draw_on,
      drawing_dtype=c.sampling.dtype,
      slots=c.engine.slots,
      steps=c.engine.steps,
      remat=c.train.remat,
      micro_batches=c.train.micro_batches,
      peak_flops=c.train.peak_flops,
      save_seconds=c.train.save_seconds,
      hosts=hosts,
    )


def open_study(config: ConfigDict, *, without_data: bool = False) -> Study:
  """Opens a valid config.

  Args:
    config: of the study.
    without_data: data that are not there are no error: what cannot be checked without them is named.

  Raises:
    CheckpointError, TokenizerError, TaskError, BudgetError, ConfigError, JudgeError: the message names the field.
  """
  implementations = {name: config.implementations.get(name, config.implementation) for name in config.models}
  variants = open_variants(config.models, config.chat, implementations)
  for name, (model, *_) in variants.items():
    if name in config.learners and (config.generators or config.gold):
      decoder.check_remat(model.config, config.train.remat)
  shapes = {name: v[0].config for name, v in variants.items()}
  made = graph(config, shapes, {name: tuple(m.identity for m in v) for name, v in variants.items()})
  unchecked = [
    f'config.models.{name} is a shape without weights: nothing is known of its files and tokenizer'
    for name, v in variants.items()
    if v[0].tokenizer is None
  ]
  opened: dict[str, tasks.Task] = {}
  try:
    opened = _tasks(config)
  except tasks.TaskError as e:
    if not without_data:
      raise
    unchecked.append(f'problems, prompts and solutions: {e}')
  _check_votes(config, opened)
  return Study(config, variants, opened, made, tuple(unchecked))


def _tasks(config: ConfigDict) -> dict[str, tasks.Task]:
  own = tasks.get(config.task.name, data_dir=config.data_dir, world=config.task.world)
  found = dict.fromkeys(tasks.SPLITS, own)
  for name, test in config.transfer.items():
    try:
      data_dir = test.get('data_dir') or config.data_dir
      task = tasks.get(test.task, data_dir=data_dir, world=config.task.world)
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
  fields = {'config.task.name': 'task', 'config.task.levels': 'levels', 'config.data_dir': 'data_dir'}
  for field, own in fields.items():
    message = message.replace(field, f'config.transfer.{name}.{own}')
  return message


def _check_votes(config: ConfigDict, opened: Mapping[str, tasks.Task]) -> None:
  """Raises ConfigError for votes among answers that cannot be compared."""
  if not opened or opened['test'].same is not None:
    return
  why = f'answers of {config.task.name} are programs, which are not counted as votes'
  if config.evaluate.maj_k:
    raise ConfigError(f'config.evaluate.maj_k={config.evaluate.maj_k!r}: {why}; leave it empty')
  for variant in (None, *config.variants):
    if rules_of(config, variant)['filter'] == 'majority':
      field = f'variants.{variant}' if variant else 'data'
      raise ConfigError(f"config.{field}.filter='majority': {why}; name another filter")


def read_config(root: epath.Path) -> ConfigDict:
  """The config of a workdir's last run. Raises OSError or ValueError, which name the file."""
  return ConfigDict(files.read_json(root / layout.CONFIG))
