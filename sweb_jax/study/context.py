"""What steps share while they run: the workdir, the processes, the models and where they lie."""

from __future__ import annotations

import dataclasses
import functools
import threading
from collections.abc import Mapping, Sequence
from typing import Any

import jax
import numpy as np
from etils import epath
from jax.sharding import Mesh
from jaxtyping import Int

from sweb_jax import layout, records, tasks
from sweb_jax.budget import Cost, Prompts
from sweb_jax.config import RECORDED, elsewhere
from sweb_jax.models import checkpoint, decoder, families, sharding
from sweb_jax.models.decoder import Params
from sweb_jax.models.source import Model, open_model, read_params
from sweb_jax.records import Problem
from sweb_jax.runtime.hosts import Hosts, Interrupted
from sweb_jax.runtime.progress import Meter
from sweb_jax.sampling import capacity, stops
from sweb_jax.study.endpoint import EndpointModel, open_endpoint
from sweb_jax.study.recorded import RecordedModel, open_recorded
from sweb_jax.tasks.grading import SecondOpinions
from sweb_jax.tasks.rendering import Renderer
from sweb_jax.training import watchers

Variants = Mapping[str, Sequence[Model]]
"""Model -> its variants, which question sets take in turn."""


@dataclasses.dataclass(eq=False, kw_only=True)
class Context:
  """Handed to every step, and to nothing else."""

  root: epath.Path
  variants: Variants
  tasks: Mapping[str, tasks.Task]
  """Split -> the task that its problems are of."""
  costs: Mapping[str, Cost]
  """By definition."""
  share_prefix: bool = True
  """Worked examples are charged once a step; else once a problem."""
  mesh_axes: Mapping[str, Mapping[str, int]]
  """Axis -> devices along it, of the mesh that each learner is trained on; '': of `config.mesh`."""
  draw_on: str = ''
  """'slice', 'hosts', or '': as the devices allow (`config.engine.draw_on`)."""
  drawing_dtype: str = 'float32'
  """Of weights and caches."""
  slots: int = 0
  """Completions decoded together; 0: as many as are of use and fit into memory."""
  steps: int = 16
  """Tokens between two refills."""
  kernels: bool = True
  """Whether TPUs draw with kernels."""
  remat: str = 'none'
  micro_batches: int = 1
  side_by_side: int = 0
  """Trainings in one program; 0: as many as are of use and fit into memory."""
  peak_flops: float = 0.0
  save_seconds: float = 300.0
  wandb: str = ''
  """Project of Weights & Biases that is told of trainings; '': none."""
  hosts: Hosts = dataclasses.field(default_factory=Hosts)
  meter: Meter = dataclasses.field(default_factory=lambda: Meter('', 1))

  def __post_init__(self):
    self._loading = threading.Lock()
    self._loaded = functools.cache(self._load)

  @functools.cache  # noqa: B019 (lives as long as the run)
  def train_mesh(self, name: str = '') -> Mesh:
    """That a learner is trained on, over the devices of all processes; without a name, that of `config.mesh`."""
    return sharding.make_mesh(**self.mesh_axes[name])

  @functools.cache  # noqa: B019 (lives as long as the run)
  def meshes(self, name: str) -> tuple[Mesh, ...]:
    """What a model is drawn on: each process by itself, those that hold a model between them, or all of a slice."""
    mesh = self.train_mesh()
    return capacity.choose_meshes(
      self.model(name).config,
      mesh,
      draw_on=self.draw_on,
      itemsize=jax.numpy.dtype(self.drawing_dtype).itemsize,
      memory=capacity.memory_of(mesh.local_devices[0]),
    )

  def mesh(self, name: str) -> Mesh:
    """Of `meshes`, this process's."""
    return sharding.own(self.meshes(name))

  def check_machine(self) -> None:
    """What a run needs and a plan does not: weights, devices, and which processes draw as one.

    Raises CheckpointError, DecoderError, MeshError and WatchError.
    """
    watchers.check(self.wandb, self.root)
    for name, variants in self.variants.items():
      if variants[0].tokenizer is None and not isinstance(variants[0], RecordedModel | EndpointModel):
        raise checkpoint.CheckpointError(
          f'config.models.{name}={variants[0].identity!r} is a shape without weights, which can only be planned; '
          f'give a folder with --config.models.{name}=DIR'
        )
    computed = {n: v[0] for n, v in self.variants.items() if not isinstance(v[0], RecordedModel | EndpointModel)}
    for name, model in computed.items():
      try:
        model.config.check()
      except decoder.DecoderError as e:
        raise decoder.DecoderError(f'config.models.{name}: {e}') from e
    for name in computed:
      mesh = self.mesh(name)
      self.hosts.together = len({d.process_index for d in mesh.devices.flat})  # The same for all models.
      sharding.check_rows(self.slots, mesh, 'config.engine.slots')

  def model(self, name: str) -> Model:
    """Its variants are alike but for the parameters."""
    return self.variants[name][0]

  def variant(self, name: str, question_set: int) -> Model:
    """The one that a question set takes."""
    return self.variants[name][question_set % len(self.variants[name])]

  def params(self, name: str, question_set: int, dtype: str) -> Params:
    """A model's parameters before fine-tuning, on its `mesh`, read once."""
    with self._loading:
      return self._loaded(name, question_set % len(self.variants[name]), dtype)

  def trained_params(self, name: str, folder: epath.Path, dtype: str) -> Params:
    """The parameters of a model that this study fine-tuned, on its `mesh`."""
    return read_params(folder, self.model(name).config, self.mesh(name), jax.numpy.dtype(dtype))

  def params_to_train(self, name: str, question_set: int) -> Params:
    """A model's parameters before fine-tuning, on the mesh of all processes."""
    if self.mesh(name) == self.train_mesh(name):
      return self.params(name, question_set, 'float32')
    return self.variant(name, question_set).load(self.train_mesh(name))

  def _load(self, name: str, variant: int, dtype: str) -> Params:
    return self.variants[name][variant].load(self.mesh(name), jax.numpy.dtype(dtype))

  @functools.cache  # noqa: B019 (lives as long as the run)
  def renderer(self, name: str, chat: bool, examples: str) -> Renderer:
    """Prompts to ids, for a model; `examples` go before every prompt."""
    return Renderer(self.model(name).tokenizer, examples, chat)

  def prompts(self, renderer: Renderer, task: tasks.Task, problems: Sequence[Problem]) -> dict[str, tuple[int, ...]]:
    """Problem id -> ids of its prompt, each encoded once however many samples are drawn after it."""
    return dict(zip((p.id for p in problems), renderer.prompts([task.prompt(p) for p in problems]), strict=True))

  def read(self, renderer: Renderer, prompts: Mapping[str, Sequence[int]]) -> dict[str, Prompts]:
    """How many tokens are read before the samples of each problem, from the ids of its prompt."""
    prefix = len(renderer.prefix)
    return {name: Prompts(prefix, len(ids), self.share_prefix) for name, ids in prompts.items()}

  @functools.cache  # noqa: B019
  def stop_table(self, name: str, stop_strings: tuple[str, ...]) -> Int[np.ndarray, 'Q V']:
    """What `stops.table` makes of a model's vocabulary."""
    model = self.model(name)
    pieces = model.tokenizer.pieces()
    return stops.table([*pieces, *[b''] * (model.config.vocab_size - len(pieces))], stop_strings)

  def problems(self, folder: str, count: int) -> list[Problem]:
    """The first `count` problems of a step of problems."""
    return list(records.read(Problem, self.root / folder / layout.PROBLEMS))[:count]

  @functools.cached_property
  def second_opinions(self) -> SecondOpinions:
    """math-verify's, kept in the workdir."""
    return SecondOpinions(self.root / layout.SECOND_OPINIONS, self.hosts.prefix)

  def check(self) -> None:
    """Raises Interrupted once the run was asked to stop."""
    if self.hosts.stop.is_set():
      raise Interrupted


def open_variants(
  models: Mapping[str, str | Sequence[str]],
  chat: Sequence[str] = (),
  implementations: Mapping[str, str] | None = None,
  recorded: Mapping[str, Mapping[str, Any]] | None = None,
  endpoints: Mapping[str, Mapping[str, Any]] | None = None,
  without_data: bool = False,
) -> dict[str, tuple[Model, ...]]:
  """Opens every model of a config: headers and tokenizers, no weights.

  Args:
    models: name -> source, or sources of variants: the same architecture and tokenizer, other parameters.
    chat: names of those that read and write chat turns.
    implementations: name -> which implementation computes it; '' or none: native, or the library where only it can.
    recorded: name -> how recorded samples are read, as `config.recorded`.
    endpoints: name -> how an endpoint is asked, as `config.endpoints`.
    without_data: files of samples that are not there are no error.

  Raises:
    CheckpointError: a model that cannot be opened, or variants that are not alike.
    ConfigError, RecordError: recorded samples, or an endpoint, that cannot be opened.
    DecoderError: an implementation that cannot compute a model.
    TokenizerError: a model of `chat` without marks of turns.
  """
  opened = {}
  for name, source in models.items():
    sources = (source,) if isinstance(source, str) else tuple(source)
    if kind := elsewhere(sources):
      open_one = functools.partial(open_recorded, may_lack=without_data) if kind == RECORDED else open_endpoint
      said = ((recorded if kind == RECORDED else endpoints) or {}).get(name, {})
      opened[name] = tuple(open_one(name, s, said, name in chat) for s in sources)
    else:
      opened[name] = _open_alike(name, sources, (implementations or {}).get(name, ''))
  for name in chat:
    if opened[name][0].tokenizer:
      opened[name][0].tokenizer.turn_ids()
  return opened


def _open_alike(name: str, sources: Sequence[str], implementation: str) -> tuple[Model, ...]:
  try:
    variants = tuple(open_model(s) for s in sources)
  except checkpoint.CheckpointError as e:
    raise checkpoint.CheckpointError(f'config.models.{name}: {e}') from e
  for s, v in zip(sources, variants, strict=True):
    if (v.config, v.tokenizer) != (variants[0].config, variants[0].tokenizer):
      raise checkpoint.CheckpointError(f'config.models.{name}: {s} has another shape or tokenizer than {sources[0]}')
  try:
    return tuple(dataclasses.replace(v, config=families.implement(v.config, implementation)) for v in variants)
  except decoder.DecoderError as e:
    raise decoder.DecoderError(f'config.models.{name}: {e}') from e
