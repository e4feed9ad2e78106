"""Looks after workdirs.

    python -m sweb_jax.study check WORKDIR
    python -m sweb_jax.study check WORKDIR --repair

The first says in a table what is finished, missing, torn, changed or of unknown origin, by the checksums of the
manifests; its status is 1 where something is damaged. The second has exactly that made again: of a chunk of samples
its rows, of a step its files. Nothing is deleted: damaged files go to WORKDIR/superseded. Files of unknown origin are
named and left alone.
"""

from __future__ import annotations

import sys
from collections.abc import Sequence

from absl import app, flags
from etils import epath
from rich import box
from rich.console import Console
from rich.table import Table
from rich.text import Text

from sweb_jax.runtime import manifest, terminal
from sweb_jax.study import STAGES
from sweb_jax.study import check as check_lib
from sweb_jax.study.check import Finding

_REPAIR = flags.DEFINE_bool('repair', False, 'Make again what is damaged, and nothing else.')

_SHOWN = 40


def main(argv: list[str]) -> None:
  console = terminal.console()
  try:
    match argv[1:]:
      case ['check', workdir]:
        damaged = check(epath.Path(workdir), console, repair=_REPAIR.value)
      case _:
        raise app.UsageError('give check WORKDIR')
  except (ValueError, OSError, RuntimeError) as e:
    print(f'Error: {e}', file=sys.stderr)
    sys.exit(1)
  if damaged:
    sys.exit(1)


def check(root: epath.Path, console: Console, *, repair: bool) -> int:
  """Prints what there is, and mends it if asked to; returns how many findings are damage that is left."""
  found = check_lib.check(root)
  show(console, found)
  damage = [f for f in found if f.damage]
  if not damage:
    console.print('Nothing is damaged.')
    return 0
  if not repair:
    console.print(f'{len(damage)} files are damaged or lost; --repair makes them again.')
    return len(damage)
  with manifest.lock(root):
    folders = check_lib.clear(root, damage)
  again(root, folders, console)
  left = [f for f in check_lib.check(root) if f.damage]
  console.print(f'Repaired {len(folders)} steps.' if not left else f'{len(left)} files are still damaged.')
  return len(left)


def show(console: Console, found: Sequence[Finding]) -> None:
  """A line a kind of finding with its count, and the files that are not as they should be."""
  table = Table(box=box.SIMPLE_HEAD, title='Workdir', title_justify='left')
  for column in ('state', 'steps or files', 'which'):
    table.add_column(column)
  for what in dict.fromkeys(f.what for f in found):
    names = ['/'.join(filter(None, (f.folder, f.file))) for f in found if f.what == what]
    shown = names[: 3 if what in ('finished', 'missing', 'no data') else _SHOWN]
    more = f', and {len(names) - len(shown)} more' if len(names) > len(shown) else ''
    table.add_row(Text(what), str(len(names)), Text(', '.join(shown) + more))
  console.print(table)


def again(root: epath.Path, folders: Sequence[str], console: Console) -> None:
  """Runs steps of the workdir's own study."""
  # JAX takes seconds, and a workdir that is whole does not need it.
  from sweb_jax.runtime import devices
  from sweb_jax.runtime.hosts import Hosts
  from sweb_jax.study import opened, runner

  devices.prepare(root)
  study = opened.open_study(opened.read_config(root))
  context = study.context(root, Hosts())
  context.check_machine()
  with manifest.lock(root):
    steps = [s for s in study.graph.steps if s.folder in folders]
    runner.run(context, steps, STAGES, console, study.config.engine.jobs, study.assumed(root))


if __name__ == '__main__':
  terminal.start(main)
