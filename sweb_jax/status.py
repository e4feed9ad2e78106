"""How far a study is, from another terminal or another machine: `python -m sweb_jax.status WORKDIR`.

Reads the workdir and nothing else: what each stage has done, what runs, when it ends, and what was drawn and paid for.
"""

from __future__ import annotations

import sys
import time
from collections.abc import Sequence

from absl import app
from etils import epath
from rich import box
from rich.console import Console
from rich.table import Table
from rich.text import Text

from sweb_jax import analysis, budget, layout
from sweb_jax.runtime import files, manifest, terminal

_SILENT_SECONDS = 60.0
"""A run writes every ten seconds; after these it may have been killed."""


def main(argv: list[str]) -> None:
  if len(argv) != 2:
    raise app.UsageError('give WORKDIR')
  try:
    show(epath.Path(argv[1]), terminal.console())
  except (ValueError, OSError) as e:
    print(f'Error: {e}', file=sys.stderr)
    sys.exit(1)


def show(root: epath.Path, console: Console) -> None:
  """Prints how far the study in a workdir is. Raises AnalysisError where there is none."""
  study = analysis.read_study(root)
  finished = analysis.done(root, study)
  try:
    said = _running(root)
  except (ValueError, KeyError, TypeError, OverflowError, OSError) as e:  # What the workdir holds tells more than this.
    said = f'{root / layout.PROGRESS} cannot be read ({type(e).__name__}); nothing is known of the last run'
  console.print(Text(f'{study.name}: {said}'))
  console.print(_stages(root, study, finished))
  for line in analysis.nothing(study, finished):
    console.print(Text(line))
  console.print(spent_table(study, budget.read(root)))


def _running(root: epath.Path) -> str:
  """What the last run says of itself."""
  path = root / layout.PROGRESS
  if not path.exists():
    return 'nothing is known of the last run'
  said = files.read_json(path)
  ago = time.time() - said['time']
  who = f'process {said["process"]} on {said["host"]}'
  if said['state'] != 'running':
    why = f': {said["why"]}' if said['why'] else ''
    return f'the last run ({who}) {said["state"]} {terminal.clock(ago)} ago{why}'
  if ago > _SILENT_SECONDS:
    return f'{who} has not been heard of for {terminal.clock(ago)}; was it killed? The last it said: {said["line"]}'
  return f'running, {said["line"]} ({who}, {terminal.clock(time.time() - said["begun"])} so far)'


def _stages(root: epath.Path, study: analysis.Study, finished: dict[str, str]) -> Table:
  table = Table(box=box.SIMPLE_HEAD)
  for column in ('stage', 'steps', 'done', 'without a result', 'begun', 'hours so far'):
    table.add_column(column, justify='left' if column == 'stage' else 'right')
  for stage in dict.fromkeys(step.stage for step in study.steps):
    steps = [step for step in study.steps if step.stage == stage]
    there = [s for step in steps if (s := manifest.read(root, step.folder)) and s.version == step.version]
    begun = sum(not s.done for s in there)
    hours = sum(s.seconds for s in there) / 3600
    done = [step for step in steps if step.folder in finished]
    empty = sum(bool(finished[step.folder]) for step in done)
    table.add_row(stage, *map(str, (len(steps), len(done), empty, begun)), f'{hours:.2f}')
  return table


def spent_table(study: analysis.Study, entries: Sequence[budget.Entry]) -> Table:
  """Tokens by model and kind, their FLOPs (2 a parameter and token), and dollars where the study has prices."""
  tokens = budget.by_model(entries)
  kinds = [kind for kind in budget.KINDS if any(count[kind] for count in tokens.values())]
  table = Table(box=box.SIMPLE_HEAD, title='Tokens so far, kept or not', title_justify='left', show_footer=True)
  rows = []
  for model, count in tokens.items():
    flops = budget.flops_per_token(study.parameters[model]) * count.total() if model in study.parameters else 0
    rows.append((model, *(count[kind] for kind in kinds), flops, budget.dollars(study.prices.get(model), count)))
  totals = [sum(row[i] for row in rows) for i in range(1, len(kinds) + 3)]
  table.add_column('model', 'all')
  for kind, total in zip(kinds, totals, strict=False):
    table.add_column(f'{kind}, tokens', f'{total:,}', justify='right')
  table.add_column('FLOPs', f'{totals[-2]:.3g}', justify='right')
  if study.prices:
    table.add_column('dollars', f'{totals[-1]:.2f}', justify='right')
  for model, *counts, flops, dollars in rows:
    priced = (f'{dollars:.2f}',) if study.prices else ()
    table.add_row(model, *(f'{count:,}' for count in counts), f'{flops:.3g}', *priced)
  return table


if __name__ == '__main__':
  terminal.start(main)
