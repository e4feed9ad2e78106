"""Compiles the steps of a config for devices that are not at hand, and says what they need there."""

from __future__ import annotations

import dataclasses
import hashlib
import os
import re
import time
from typing import Any

import jax
from etils import epath
from jax.sharding import Mesh
from ml_collections import ConfigDict

from sweb_jax.lowering import hlo, slices
from sweb_jax.lowering.hlo import Message, Program
from sweb_jax.lowering.steps import Step, steps
from sweb_jax.models import sharding
from sweb_jax.runtime import files

CACHE = epath.Path(os.environ.get('XDG_CACHE_HOME') or '~/.cache').expanduser() / 'sweb_jax' / 'lowering'
"""What the TPU's compiler once found; may be deleted."""

_FORMAT = 5
"""Of the files in it."""

LESS = (
  'split the model over more devices (config.mesh), or for training raise config.train.micro_batches or set '
  "config.train.remat='full', for sampling lower config.engine.slots"
)
"""What makes a step fit."""

_REMATERIALISED = 'Involuntary full rematerialization'


class LoweringError(ValueError):
  """A step that cannot be lowered, or does not fit; the message names model and step."""


@dataclasses.dataclass(frozen=True)
class Lowered:
  """One step of one model, on one device of the mesh."""

  model: str
  step: str
  """'prefill', 'decode' (a token of every row) or 'train'."""
  mesh: str
  layers: int
  """That were compiled."""
  computed: int
  """Bytes of parameters, optimiser's state and cache, by the sharding alone; of all layers."""
  beside: int
  """Bytes of the weights that a learner's checkpoints are scored with, beside the state that is trained."""
  arguments: int
  """Of all layers."""
  outputs: int
  """Beyond the arguments that are given back in place."""
  temporaries: int
  flops: float
  collectives: dict[str, tuple[float, float]]
  """Kind -> how many, and bytes of their results."""
  largest: tuple[int, ...]
  """The largest array written, by its shape."""
  logits: tuple[tuple[int, ...], ...]
  """Arrays of a vocabulary entry for every token of the step, which there should be none of."""
  rematerialised: int
  """How often XLA found no way between two shardings but to gather everything."""
  seconds: float = 0.0
  """To compile it."""
  cycles: float = 0.0
  """As a TPU's compiler estimates them."""
  kernel_bytes: float = 0.0
  """That kernels read and write, of which it tells no cycles."""
  messages: tuple[Message, ...] = ()

  @property
  def peak(self) -> int:
    """Bytes a device at most."""
    return max(self.arguments + self.outputs + self.temporaries, self.computed + self.beside)


def lower(config: ConfigDict, hbm: float = 0.0, hosts: int = 1) -> list[Lowered]:
  """Lowers and compiles every step of a config for its mesh; the process must have that many (simulated) devices.

  Args:
    config: resolved and valid; neither weights nor data are read.
    hbm: bytes of a device, by which the number of slots is chosen where the config leaves it open; 0: as on 16 GB.
    hosts: processes that the devices belong to; each draws by itself, or with those that hold the rest of a model.

  Raises:
    MeshError: there are not enough devices, or rows do not divide over them.
    LoweringError: a step's memory cannot be told.
  """
  return [compiled(step, step.layers) for step in steps(config, hbm or 16e9, hosts)]


def compiled(step: Step, layers: int, compiler: str = '') -> Lowered:
  """Compiles a step of a model, or of a shorter one of so many layers.

  Args:
    step: to compile.
    layers: of the model.
    compiler: the TPU compiler's version, where the step's devices are a slice's: what it once found is kept in
      `CACHE` and not compiled again. '': for simulated devices of this CPU.

  Raises LoweringError where the compiler refuses it, or it does not fit.
  """
  lowered, tokens = step.lower(layers)
  given, _ = step.state(layers)
  _, state = step.state(step.layers)
  found = _on_slice(step, lowered, compiler) if compiler else _simulated(step, lowered)
  program = found.program
  rows = step.rows(layers)  # An array with an entry a piece that has such a row for it is a table, or its gradient.
  return Lowered(
    step.model,
    step.name,
    mesh_name(step.mesh),
    layers,
    state,
    step.beside,
    found.arguments - given + state,
    found.outputs,
    found.temporaries,
    program.flops,
    {kind: (t.count, t.bytes) for kind, t in program.collectives.items()},
    program.largest,
    tuple(s for s in program.holding(step.vocabulary, tokens) if not any(all(set(s) & n for n in row) for row in rows)),
    found.rematerialised,
    found.seconds,
    program.cycles,
    program.kernel_bytes,
    program.messages,
  )


def mesh_name(mesh: Mesh) -> str:
  """'fsdp=8 x tensor=8'; of trainings side by side 'run=4 x fsdp=2 x tensor=8'."""
  return ' x '.join(f'{k}={n}' for k, n in mesh.shape.items() if n > 1) or 'one device'


def deeper(shallow: Lowered, deep: Lowered, step: Step) -> Lowered:
  """The step of the whole model, by those of two shorter ones: with each layer more it grows by as much."""
  if deep.layers == step.layers:
    return deep
  share = (step.layers - shallow.layers) / (deep.layers - shallow.layers)

  def extended(low: float, high: float) -> float:
    return low + (high - low) * share

  counts = [{(m.kind, m.bytes, m.group, m.slices): m.count for m in x.messages} for x in (shallow, deep)]
  fields = ('outputs', 'temporaries', 'flops', 'cycles', 'kernel_bytes')
  grown = {name: extended(getattr(shallow, name), getattr(deep, name)) for name in fields}
  return dataclasses.replace(
    deep,
    layers=step.layers,
    collectives={},
    messages=tuple(
      Message(kind, extended(*(c.get((kind, *what), 0.0) for c in counts)), *what)
      for kind, *what in {**counts[0], **counts[1]}
    ),
    **grown,
  )


@dataclasses.dataclass(frozen=True)
class _Found:
  """What a compiler made of a program."""

  program: Program
  arguments: int
  outputs: int
  temporaries: int
  seconds: float
  rematerialised: int = 0


def _found(step: Step, done: jax.stages.Compiled, seconds: float, **read: Any) -> _Found:
  memory = done.memory_analysis()
  if memory is None:
    raise LoweringError(f'{step.model}, {step.name}: this version of XLA does not tell the memory of a program')
  return _Found(
    hlo.read(done.as_text(), **read),
    memory.argument_size_in_bytes,
    memory.output_size_in_bytes - memory.alias_size_in_bytes,
    memory.temp_size_in_bytes,
    seconds,
  )


def _simulated(step: Step, lowered: jax.stages.Lowered) -> _Found:
  begun = time.monotonic()
  with slices.standard_error() as said:
    # The machine code is never run. What is looked at is decided before, and does not depend on these.
    done = lowered.compile({'xla_backend_optimization_level': 0, 'xla_llvm_disable_expensive_passes': True})
    said.seek(0)
    warnings = said.read().decode(errors='replace').count(_REMATERIALISED)
  return dataclasses.replace(_found(step, done, time.monotonic() - begun), rematerialised=warnings)


def _on_slice(step: Step, lowered: jax.stages.Lowered, compiler: str) -> _Found:
  devices = [(d.device_kind, sharding.slice_of(d), *d.coords) for d in step.mesh.devices.flat]
  told = repr((_FORMAT, compiler, jax.__version__, devices, lowered.as_text()))
  path = CACHE / f'{hashlib.sha256(told.encode()).hexdigest()[:32]}.json'
  if path.exists():
    kept = files.read_json(path)
    return _Found(hlo.program(kept.pop('program')), **kept)
  begun = time.monotonic()
  try:
    done = lowered.compile()
  except jax.errors.JaxRuntimeError as e:
    raise LoweringError(f'{step.model}, {step.name}: {_why(str(e))}') from e
  found = _found(step, done, time.monotonic() - begun, by_condition=True)
  files.write_json(path, dataclasses.asdict(found), indent=None)
  return found


def _why(message: str) -> str:
  """What the TPU's compiler refuses a program for, and what would help."""
  if used := re.search(r'Used ([\d.]+)([MGT]) of ([\d.]+)G hbm', message):
    return f'does not fit: the compiler needs {used[1]} {used[2]}iB of {used[3]} GiB a chip; {LESS}'
  return f"the TPU's compiler refuses it: {message.splitlines()[0]}"
