"""What the command does with a study: plan, check, reuse, run, tell."""

from __future__ import annotations

import contextlib
from collections.abc import Sequence

from etils import epath
from rich.console import Console
from rich.text import Text

from sweb_jax import analysis, layout
from sweb_jax.runtime import devices, files, manifest
from sweb_jax.runtime.hosts import Hosts
from sweb_jax.study import estimate, preflight, reuse, runner
from sweb_jax.study.arms import cost_table
from sweb_jax.study.describe import describe, elsewhere
from sweb_jax.study.lengths import Lengths
from sweb_jax.study.opened import Study
from sweb_jax.study.work import Rates


def plan(
  study: Study, root: epath.Path, console: Console, rates: Rates | None = None, *, tell: bool = False
) -> Lengths:
  """Checks what can be checked without compute, and prints the plan; returns the lengths that were looked at.

  Args:
    study: opened.
    root: its workdir, which may be there or not.
    console: what is printed to.
    rates: of another machine than the one that the config describes.
    tell: what of it is done in the workdir, and what is left; a run says so by itself.

  Raises what `preflight.check` does.
  """
  lengths = Lengths(root)
  notes = preflight.check(study, root, console, lengths)
  arms = study.graph.arms
  assumed = study.assumed(root, rates)
  estimate.show(console, study.config.name, study.graph.steps, assumed, bool(study.config.train.epochs))
  if arms.all:
    counted = (f' ({a.samples:.4g} a problem)' if a.samples else '' for a in arms.all)
    console.print('Arms: ' + ', '.join(a.name + count for a, count in zip(arms.all, counted, strict=True)))
  if arms.samples:
    console.print(cost_table(arms))
  sizes = {name: v[0].config for name, v in study.variants.items()}
  if sparse := {name: c for name, c in sizes.items() if c.active_parameters != c.parameters}:
    counts = (f'{name} {c.parameters:,}, {c.active_parameters:,} of them a token' for name, c in sparse.items())
    console.print(Text(f'Parameters, not all of which a token has to do with: {"; ".join(counts)}.'))
  other = [name for name, v in study.variants.items() if v[0].config.implementation == 'gemma']
  if other:
    console.print(Text(f'Computed by the gemma library: {", ".join(other)}.'))
  for line in elsewhere(study):
    console.print(Text(line))
  if tell:
    reuse.tell(console, root, study.graph.steps, assumed)
  for note in notes:
    console.print(Text(f'Note: {note}.'))
  for unchecked in study.unchecked:
    console.print(Text(f'Not checked: {unchecked}'))
  return lengths


def run(
  study: Study,
  root: epath.Path,
  hosts: Hosts,
  stages: Sequence[str],
  console: Console,
  *,
  lengths: Lengths | None = None,
  redo: bool = False,
  from_workdir: epath.PathLike | None = None,
) -> None:
  """Runs the stages of a study in a workdir, and shows the report's short form at the end.

  Args:
    study: opened, with its data.
    root: the workdir.
    hosts: the processes of this run; the first writes what all share.
    stages: of `study.STAGES`.
    console: for progress and tables.
    lengths: of the plan, which the workdir keeps.
    redo: what was made for another config may be made again.
    from_workdir: another workdir, whose finished steps of equal version are taken over.

  Raises:
    WorkdirError: something finished would be made again, or the workdir cannot be used.
    StageError: nothing could be done.
  """
  old = files.absolute(from_workdir) if from_workdir else None
  if old:
    reuse.check_workdir(old)
  context = study.context(root, hosts)
  if set(stages) - {'plan', 'report'}:
    context.check_machine()
  every = study.graph.steps
  steps = [s for s in every if s.stage in stages or s.kind == 'problems']
  with manifest.lock(root) if hosts.leads else contextlib.nullcontext():
    if hosts.leads:
      if not (root / layout.CONFIG).exists():  # From here on it is a workdir.
        files.write_json(root / layout.CONFIG, study.config.to_dict())
      if old:
        count, how = reuse.take_over(root, old, every)
        console.print(Text(f'Took over {count} steps from {from_workdir}, {how}.'))
      found = reuse.states(root, steps)
      reuse.refuse(root, steps, found, study.assumed(root), redo)
      reuse.show(console, found)
      reuse.supersede(root, steps, found)
      files.write_json(root / layout.CONFIG, study.config.to_dict())
      described = describe(study, study.assumed(root))
      files.write_json(root / layout.STUDY, described.json())
      if lengths:
        lengths.keep()
    hosts.barrier('the workdir is ready')
    devices.prepare(root)
    waiting = runner.run(context, every, stages, console, study.config.engine.jobs, study.assumed(root))
  if not hosts.leads:
    return
  if waiting:
    step, needed = next(iter(waiting.items()))
    console.print(Text(f'{len(waiting)} steps wait for others, as {step} for {needed}.'))
  for line in analysis.nothing(described, analysis.done(root, described)):
    console.print(Text(line))
  if 'report' in stages:
    missing = analysis.missing(described, analysis.done(root, described))
    analysis.show(analysis.read_tables(root), console, missing)
    console.print(f'Report: {root / layout.INDEX}')
