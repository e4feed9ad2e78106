"""Compiles the steps of a config for devices that are not at hand, and says what they need there."""

from __future__ import annotations

import dataclasses
import os
import tempfile
from collections.abc import Mapping

from ml_collections import ConfigDict
from rich.console import Console
from rich.table import Table

from sweb_jax.lowering import hlo
from sweb_jax.lowering.steps import Step, steps

_REMATERIALISED = 'Involuntary full rematerialization'


class LoweringError(ValueError):
  """A step that cannot be lowered, or does not fit; the message names model and step."""


@dataclasses.dataclass(frozen=True)
class Lowered:
  """One step of one model, on one device of the mesh."""

  model: str
  step: str
  """'prefill', 'decode' (a token of every row) or 'train'."""
  layers: int
  computed: int
  """Bytes of parameters, optimiser's state and cache, by the sharding alone."""
  beside: int
  """Bytes of the weights that a learner's checkpoints are scored with, beside the state that is trained."""
  arguments: int
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


def compiled(step: Step, layers: int) -> Lowered:
  """Compiles a step of a model, or of a shorter one of so many layers."""
  lowered, tokens = step.lower(layers)
  given, state = step.state(layers)
  with tempfile.TemporaryFile() as said:
    # XLA speaks to the process's standard error, not to Python's.
    own = os.dup(2)
    os.dup2(said.fileno(), 2)
    try:
      # The machine code is never run. What is looked at is decided before, and does not depend on these.
      done = lowered.compile({'xla_backend_optimization_level': 0, 'xla_llvm_disable_expensive_passes': True})
    finally:
      os.dup2(own, 2)
      os.close(own)
    said.seek(0)
    warnings = said.read().decode(errors='replace').count(_REMATERIALISED)
  memory = done.memory_analysis()
  if memory is None:
    raise LoweringError(f'{step.model}, {step.name}: this version of XLA does not tell the memory of a program')
  program = hlo.read(done.as_text())
  return Lowered(
    step.model,
    step.name,
    layers,
    state,
    step.beside,
    memory.argument_size_in_bytes - given + state,
    memory.output_size_in_bytes - memory.alias_size_in_bytes,
    memory.temp_size_in_bytes,
    program.flops,
    {kind: (t.count, t.bytes) for kind, t in program.collectives.items()},
    program.largest,
    tuple(s for s in program.holding(step.vocabulary, tokens) if not set(s) & step.width),  # But for the table itself.
    warnings,
  )


def show(found: list[Lowered], mesh: Mapping[str, int], part: Mapping[str, int], console: Console) -> None:
  """The steps as a table; `part` is what of the mesh one process draws on."""
  whole, drawing = (' x '.join(f'{k}={v}' for k, v in m.items()) for m in (mesh, part))
  table = Table(title=f'A device of the mesh {whole}' + (f'; drawing: {drawing}' if drawing != whole else ''))
  for column in ('model', 'step', 'state, GB', 'at most, GB', 'TFLOP', 'messages, MB', 'largest', 'logits', 'remat'):
    table.add_column(column, justify='left' if column in ('model', 'step', 'messages, MB') else 'right')
  for x in found:
    table.add_row(
      x.model, x.step, f'{x.computed / 1e9:.2f}', f'{x.peak / 1e9:.2f}', f'{x.flops / 1e12:.3f}',
      '\n'.join(f'{n:,.0f} {kind}: {b / 1e6:,.0f}' for kind, (n, b) in x.collectives.items()),
      'x'.join(map(str, x.largest)), ', '.join('x'.join(map(str, s)) for s in x.logits) or 'none',
      str(x.rematerialised),
    )  # fmt: skip
  console.print(table)
  console.print(
    'State: parameters, optimiser and cache, by the sharding alone. At most: with the temporaries of the program for\n'
    'CPU, in 32 bits; a TPU in 16 bits needs less. Or, in training, with the weights that score a checkpoint beside\n'
    'the state. FLOPs and messages: of a step; decode: of a token in every row.'
  )


def misfits(found: list[Lowered], hbm: float) -> list[str]:
  """What is wrong with the steps on devices of so many bytes, a message each."""
  out = []
  for x in found:
    where = f'{x.model}, {x.step}'
    if x.peak > hbm:
      out.append(
        f'{where}: needs {x.peak / 1e9:.1f} GB a device, {hbm / 1e9:g} GB are there; split the model over more devices '
        '(config.mesh), or for training raise config.train.micro_batches, for sampling lower config.engine.slots'
      )
    if x.logits:
      out.append(f'{where}: holds logits of every token at once: {x.logits[0]}')
    if x.rematerialised:
      out.append(f'{where}: XLA gathers whole arrays in {x.rematerialised} places to change their sharding')
  return out
