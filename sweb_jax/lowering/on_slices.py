"""The steps of a config on a slice, compiled by the TPU's compiler."""

from __future__ import annotations

import collections
import dataclasses
from collections.abc import Mapping, Sequence

from ml_collections import ConfigDict
from rich.console import Console

from sweb_jax.lowering import compiling, slices, tables, times
from sweb_jax.lowering.compiling import Lowered, LoweringError
from sweb_jax.lowering.steps import Step, Work, samples, steps
from sweb_jax.lowering.times import Times
from sweb_jax.study.work import Rates
from sweb_jax.training.side_by_side import groups

_PERIODS = (2, 3)
"""Models of so many periods of layers are compiled for a plan; time grows by as much with each further layer."""

_OCCUPIED = 0.8
"""Of the rows that are drawn together, those that are not finished, on average."""


def show(config: ConfigDict, name: str, layers: int, console: Console) -> list[str]:
  """Compiles every step of a config for a slice and prints what it takes.

  Args:
    config: resolved and valid.
    name: of the slice.
    layers: to compile of each model; 0: all.
    console: to print to.

  Returns what is wrong, a message each.

  Raises:
    SliceError: there is no such slice.
    CompilerError: the TPU's compiler is not there.
    MeshError, SamplingError, CheckpointError: as `steps.steps`.
  """
  chip, version = slices.chip(name), slices.compiler()
  found: list[tuple[Step, Lowered, Times]] = []
  wrong = []
  for step in steps(config, chip.memory, devices=slices.devices(name)):
    console.print(f'{name}: compiling {step.model}, {step.name} on {compiling.mesh_name(step.mesh)}')
    try:
      lowered = compiling.compiled(step, min(layers or step.layers, step.layers), version)
      found.append((step, lowered, times.times(step, lowered, chip)))
    except LoweringError as e:
      wrong.append(f'{name}: {e}')
  tables.show_times(name, found, console)
  return wrong + [f'{name}: {line}' for line in tables.misfits([x for _, x, _ in found], chip.memory)]


def _updates(step: Step, trainings: Sequence[Sequence[int]]) -> Mapping[int, int]:
  """Trainings side by side -> updates of so many together. Those that are left over are in smaller groups."""
  found = collections.Counter()
  ways = step.mesh.size // step.mesh.shape['tensor']
  for lengths in trainings:
    for group in groups(lengths, step.runs, ways):
      found[len(group)] += max(lengths[i] for i in group)
  return found


def rates(
  config: ConfigDict, name: str, trainings: Mapping[str, Sequence[Sequence[int]]], console: Console
) -> Rates:
  """FLOP/s of a slice while it draws and trains, of each model by the times of its own compiled steps.

  Models of two and three periods of layers are compiled, and each further layer takes as much more as these say. Four
  of five rows are taken to be unfinished on average. Loading, compiling and grading are left out.

  Args:
    config: resolved and valid; `config.estimate` has the lengths.
    name: of the slice.
    trainings: of each learner, the steps of those that may run side by side, for each question set and round.
    console: says what is compiled.

  Raises what `show` does, and LoweringError where a step does not fit or is refused.
  """
  chip, version = slices.chip(name), slices.compiler()
  seconds: dict[tuple[str, str], float] = {}
  works: dict[tuple[str, str], Work] = {}
  parts: dict[str, int] = {}
  drawing, training = {}, {}

  def takes(step: Step) -> float:
    """Seconds."""
    console.print(f'{name}: {step.model}, {step.name} on {compiling.mesh_name(step.mesh)}')
    shallow, deep = (compiling.compiled(step, min(n * step.period, step.layers), version) for n in _PERIODS)
    found = compiling.deeper(shallow, deep, step)
    # A small step may well hold all of its logits.
    for wrong in tables.misfits([dataclasses.replace(found, logits=())], chip.memory):
      raise LoweringError(f'{name}: {wrong}')
    return times.times(step, found, chip).all

  for step in steps(config, chip.memory, devices=slices.devices(name)):
    work = step.work(step.layers)
    if step.name == 'train':
      updates = _updates(step, trainings[step.model])
      total = sum(count * takes(step.of_runs(runs)) for runs, count in updates.items())
      done = sum(map(sum, trainings[step.model]))
      training[step.model] = done * work.flops / step.runs / total
    else:
      seconds[step.model, step.name], works[step.model, step.name] = takes(step), work
      parts[step.model] = step.parts
  for (model, kind), work in works.items():
    if kind == 'decode':
      # A problem's prompt, and what is drawn after it; a plan counts as many FLOPs for either's tokens.
      read, drawn = config.estimate.prompt_tokens, samples(config) * config.estimate.completion_tokens
      of_prompt = read / works[model, 'prefill'].tokens * seconds[model, 'prefill']
      of_drawn = drawn / work.tokens * seconds[model, kind] / _OCCUPIED
      drawing[model] = parts[model] * (read + drawn) / work.tokens * work.flops / (of_prompt + of_drawn)
  console.print(
    f'Minutes of the plan: {name}, by steps compiled by libtpu {version}; loading, compiling and grading are left out.'
  )
  return Rates(drawing, training)
