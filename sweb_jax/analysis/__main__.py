"""Reports of workdirs, without JAX and without a run.

    python -m sweb_jax.analysis report DIR
    python -m sweb_jax.analysis compare DIR DIR... --out=FILE.csv
    python -m sweb_jax.analysis labels DIR --labels=FILE

The first writes DIR/report from what is done there and prints its short form. The second sets several workdirs side by
side, a table a figure, and writes the same as CSV. The third keeps what a person said on report/label.html in the
workdir, and writes the report anew with it.
"""

from __future__ import annotations

import dataclasses
import sys

from absl import app, flags
from etils import epath
from rich.console import Console
from rich.text import Text

from sweb_jax import analysis, layout, tasks
from sweb_jax.analysis import labels, side_by_side
from sweb_jax.analysis.study import read_json
from sweb_jax.runtime import files, manifest, terminal

_LABELS = flags.DEFINE_string('labels', None, 'Of the command labels: the file that report/label.html saved.')
_OUT = flags.DEFINE_string('out', None, 'File for what `compare` prints, as CSV.')


def main(argv: list[str]) -> None:
  console = terminal.console()
  try:
    match argv[1:]:
      case ['report', workdir]:
        report(workdir, console)
      case ['compare', *workdirs]:
        compare(workdirs, _OUT.value, console)
      case ['labels', workdir] if _LABELS.value:
        console.print(Text(labels.keep(workdir, _LABELS.value)))
        report(workdir, console)
      case _:
        raise app.UsageError('give report DIR, compare DIR DIR..., or labels DIR --labels=FILE')
  except (ValueError, OSError) as e:
    print(f'Error: {e}', file=sys.stderr)
    sys.exit(1)


def report(workdir: str, console: Console) -> None:
  """Writes the report of a workdir. Raises AnalysisError where there is no plan or something is damaged."""
  root = epath.Path(workdir)
  study = analysis.read_study(root)
  finished = analysis.done(root, study)
  config = read_json(root / layout.CONFIG)
  prompt = None
  try:
    prompt = tasks.from_config(config['task'], config['data_dir']).prompt
  except (KeyError, tasks.TaskError) as e:
    console.print(Text(f'The page shows problems without their prompts: {e}'))
  built = analysis.write(workdir, prompt)
  if (said := manifest.read(root, layout.REPORT)) and said.done:  # Its checksums are of the files before.
    sums = manifest.checksums(root / layout.REPORT, {})
    manifest.write(root, layout.REPORT, dataclasses.replace(said, files=sums))
  analysis.show(built, console, (*analysis.missing(study, finished), *analysis.nothing(study, finished)))
  console.print(Text(f'Report: {root / layout.INDEX}'))


def compare(workdirs: list[str], out: str | None, console: Console) -> None:
  """Prints workdirs side by side. Raises AnalysisError for fewer than two or one that cannot be read."""
  from rich import box
  from rich.table import Table

  made = side_by_side.compare(workdirs)
  for table in made:
    headers, rows = table.readable()
    grid = Table(title=Text(table.title), box=box.SIMPLE_HEAD, title_justify='left')
    for header in headers:
      grid.add_column(Text(header))
    for row in rows:
      grid.add_row(*map(Text, row))
    console.print(grid)
  console.print(Text(made[0].note if made else 'Nothing is done in these workdirs yet.'))
  if out:
    files.write_text(epath.Path(out), side_by_side.csv(made))
    console.print(Text(out))


if __name__ == '__main__':
  terminal.start(main)
