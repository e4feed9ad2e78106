"""Runs the steps of a study: what is done is skipped, and what needs nothing of each other runs side by side."""

from __future__ import annotations

import concurrent.futures
import dataclasses
import itertools
import time
from collections.abc import Collection, Hashable, Mapping, Sequence

from absl import logging
from rich.console import Console

from sweb_jax import layout, records
from sweb_jax.runtime import manifest
from sweb_jax.runtime.hosts import Interrupted
from sweb_jax.runtime.progress import Run
from sweb_jax.study import estimate, state
from sweb_jax.study.context import Context
from sweb_jax.study.state import State
from sweb_jax.study.step import Nothing, Step
from sweb_jax.study.work import Assumed


class StageError(ValueError):
  """No step of the stages can be done; the message names what they wait for."""


def run(
  context: Context, steps: Sequence[Step], stages: Sequence[str], console: Console, at_once: int, assumed: Assumed
) -> Mapping[str, str]:
  """Does what is not done of the steps of some stages, in the order of `steps`.

  Args:
    context: handed to every step.
    steps: of the study, each after those it reads.
    stages: which are run. The problems of the others are chosen too: they cost nothing, and everything reads them.
    console: shows progress.
    at_once: steps side by side, in threads, where one process runs.
    assumed: what steps are expected to take, by which progress is weighed.

  Returns:
    Folder of each step of the stages that could not be done -> folder of what it waits for.

  Raises:
    Interrupted, KeyboardInterrupt: the run was asked to stop.
    StageError: nothing could be done, as all waits for steps of other stages.
    ValueError, OSError, RuntimeError: of a step; the others were stopped at their next step, and nothing is lost.
  """
  wanted = [s for s in steps if s.stage in stages or s.kind == 'problems']
  waiting: dict[str, str] = {}
  done_any = False
  seconds = {s.folder: estimate.seconds(s, assumed) for s in wanted}
  others = {s.folder for s in wanted if estimate.elsewhere_drawn(s, assumed)}
  groups = [(stage, list(group)) for stage, group in itertools.groupby(wanted, key=lambda s: s.stage)]
  # As rounds go on a stage comes again.
  expected = [sum(seconds[s.folder] for s in g if state.state(context.root, s) is not State.DONE) for _, g in groups]
  told = Run(expected, console, context.root / layout.PROGRESS if context.hosts.leads else None, at_once)
  with told:
    for stage, group in groups:
      context.hosts.barrier(f'stage {stage}')  # What is done is the same to all from here.
      done_any |= _stage(context, stage, group, told, seconds, others, at_once, waiting) and stage in stages
  if waiting and not done_any:
    step, needed = next(iter(waiting.items()))
    stage = next(s.stage for s in steps if s.folder == needed)
    raise StageError(f'{step} needs {needed}, which is not done; add {stage!r} to --stages')
  return waiting


def _stage(
  context: Context,
  stage: str,
  steps: Sequence[Step],
  told: Run,
  seconds: Mapping[str, float],
  others: Collection[str],
  at_once: int,
  waiting: dict[str, str],
) -> bool:
  """Runs the steps of a stage that are not done; those that cannot be are added to `waiting`. Whether any is done."""
  states = {s.folder: state.state(context.root, s) for s in steps}
  todo = []
  for step in steps:
    if states[step.folder] is State.DONE:
      continue
    missing = None if step.derived else _missing(context, step, waiting, {s.folder for s in todo})
    if missing:
      waiting[step.folder] = missing
    else:
      todo.append(step)
  if not todo:
    logging.info('%s: nothing to do, %d steps are done', stage, len(steps) - sum(s.folder in waiting for s in steps))
    return any(state is State.DONE for state in states.values())
  logging.info('%s: %d steps to do, %d done before', stage, len(todo), sum(s is State.DONE for s in states.values()))
  items = sum(s.items for s in todo)
  if stage in ('sample', 'evaluate'):
    items = round(items / context.hosts.count)  # About as many are this process's.
  tells = not any(s.folder in others for s in todo)
  with told.stage(stage, items, sum(seconds[s.folder] for s in todo), tells) as meter:
    context.meter = meter
    while todo:
      left = {s.folder for s in todo}
      ready = [s for s in todo if not left & {i.folder for i in s.inputs}]
      _side_by_side(context, ready, seconds, at_once)
      todo = [s for s in todo if s not in ready]
  return True


def _missing(context: Context, step: Step, waiting: Mapping[str, str], todo: set[str]) -> str | None:
  """An input that is not there, and will not be."""
  for i in step.inputs:
    if i.folder in waiting:
      return waiting[i.folder]
    if i.folder not in todo and state.state(context.root, i) is not State.DONE:
      return i.folder
  return None


def _run(context: Context, steps: Sequence[Step]) -> None:
  """Runs steps that belong together, and writes their manifests."""
  hosts, begun = context.hosts, time.time()
  nothing = {step.folder: reason for step in steps if (reason := _begin(context, step))}
  todo = [step for step in steps if step.folder not in nothing]
  if todo and (hosts.leads or todo[0].divided):
    try:
      nothing |= todo[0].run_all(context, todo)
    except records.RecordError as e:
      mend = f'`python -m sweb_jax.study check {context.root} --repair` makes a damaged file again, and nothing else'
      raise records.RecordError(f'{e}; {mend}') from e
  share = (time.time() - begun) / len(steps)
  for step in steps:
    why = nothing.get(step.folder)
    if why and step in todo:
      logging.warning('%s: %s; what depends on it is skipped', step.folder, why)
    hosts.barrier(f'end {step.folder}')
    if hosts.leads and not (step.derived and _unfinished(context, step)):
      state.finish(context.root, step, time.time() - share, str(why or ''), why.counts if why else {})


def _begin(context: Context, step: Step) -> Nothing | None:
  """Writes the manifest of a step that is begun; says why it has no result where one that it needs has none."""
  hosts, root = context.hosts, context.root
  if hosts.leads:
    before = manifest.read(root, step.folder)
    known = {'files': before.files, 'seconds': before.seconds} if before and before.version == step.version else {}
    manifest.write(root, step.folder, dataclasses.replace(state.of(step), **known))
  hosts.barrier(f'begin {step.folder}')
  for i in step.needs:
    if (found := manifest.read(root, i.folder)) and found.nothing:
      context.meter.skip(step.items)
      return Nothing(f'{i.folder}: {found.nothing}')
  return None


def _unfinished(context: Context, step: Step) -> bool:
  """Whether a derived step tells of a study that is not finished, and has to be made again."""
  return any(state.state(context.root, i) is not State.DONE for i in step.inputs)


def _side_by_side(context: Context, steps: Sequence[Step], seconds: Mapping[str, float], at_once: int) -> None:
  """Runs steps in threads. The first error stops the others at their next turn and is raised."""
  stop = context.hosts.stop
  groups: dict[tuple[str, Hashable], list[Step]] = {}
  for step in steps:
    groups.setdefault((step.kind, step.together(context) or step.folder), []).append(step)

  def unless_stopped(steps: Sequence[Step]) -> None:
    context.check()
    try:
      with context.meter.weighing(sum(s.items for s in steps), sum(seconds[s.folder] for s in steps)):
        _run(context, steps)
    except BaseException:
      stop.set()  # Here, before this thread takes up the next step.
      raise

  # Several processes must meet in the same order.
  with concurrent.futures.ThreadPoolExecutor(at_once if context.hosts.count == 1 else 1) as pool:
    futures = [pool.submit(unless_stopped, group) for group in groups.values()]
    try:
      for future in concurrent.futures.as_completed(futures):
        future.result()
    except BaseException as error:
      if isinstance(error, KeyboardInterrupt):
        context.hosts.ask_to_stop()
        stop.set()
      pool.shutdown(cancel_futures=True)
      for future in futures:
        if not future.cancelled() and (e := future.exception()) and not isinstance(e, Interrupted):
          raise e from None
      raise
