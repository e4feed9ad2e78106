"""The report of a workdir: tables as files, one self-contained HTML page, a short form for the terminal."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING

from etils import epath

from sweb_jax import layout
from sweb_jax.analysis import filters, following, graders, headline, judges, labels, page, rounds, tables, transfer
from sweb_jax.analysis.results import read
from sweb_jax.analysis.study import AnalysisError
from sweb_jax.analysis.table import Table
from sweb_jax.records import Problem
from sweb_jax.runtime import files

if TYPE_CHECKING:
  from rich.console import Console

SHORT = {
  'data': ('arm', 'k', 'problems', 'coverage@k', 'diversity@k (solved)', 'FPR'),
  'arms': ('arm', 'samples', 'over', 'solved', 'unique a problem', 'correct'),
  'accuracy': ('learner', 'source', 'greedy pass@1', 'n'),
  'differences': ('comparison', 'learner', 'difference', 'relative', 'verdict'),
  'minus_base': ('learner', 'source', 'difference', 'relative', 'verdict'),
  'labels': ('generator', 'labelled', 'wrong', 'FPR', 'agreement'),
  'rounds': ('learner', 'round', 'generator', 'greedy pass@1', 'coverage@k', 'FPR', 'n'),
  'transfer_differences': ('test set', 'comparison', 'learner', 'difference', 'verdict'),
}
"""Tables and columns of the terminal form."""


def write(
  workdir: epath.PathLike,
  prompt: Callable[[Problem], str] | None = None,
  progressed: Callable[[], None] = lambda: None,
) -> list[Table]:
  """Writes report/tables/*.{csv,json} of a workdir and the pages of `page.write`; returns the tables.

  `prompt` renders a problem as the learner sees it (`task.prompt`); without it the page shows the problem's text.
  `progressed` is called now and then, as in `read`.
  The page asks for nothing outside itself. The same workdir and packages give the same bytes. What is not done yet
  is left out and named. Raises AnalysisError where there is no plan, or a file of what is done is damaged.
  """
  results = read(workdir, progressed=progressed)
  built = headline.build(results) + tables.build(results)
  for more in (transfer, following, filters, judges):
    progressed()
    built += more.build(results, workdir)
  built += graders.build(results) + rounds.build(results) + labels.build(epath.Path(workdir), results.study)
  folder = epath.Path(workdir) / layout.TABLES
  names = {table.name for table in built}
  for old in folder.glob('*') if folder.exists() else ():
    if old.stem not in names:
      old.unlink()  # Of an earlier report, which had something to say there.
  for table in built:
    files.write_text(folder / f'{table.name}.csv', table.csv())
    files.write_text(folder / f'{table.name}.json', table.json())
  page.write(workdir, results, built, prompt or (lambda problem: problem.text))
  return built


def read_tables(workdir: epath.PathLike) -> list[Table]:
  """The tables of a report that was written. Raises AnalysisError where there is none."""
  folder = epath.Path(workdir) / layout.TABLES
  others = following.NAME, filters.NAME, judges.NAME, graders.NAME, rounds.NAME, labels.NAME
  names = headline.NAME, *tables.NAMES, *transfer.NAMES, *others
  paths = [folder / f'{name}.json' for name in names]
  try:
    found = [Table.from_json(path.read_bytes()) for path in paths if path.exists()]
  except ValueError as e:
    raise AnalysisError(f'{folder}: a table is damaged ({e}); run the stage report again') from e
  if not found:
    raise AnalysisError(f'{folder} holds no table: run the stage report first')
  return found


def answer(built: Sequence[Table]) -> str:
  """The study's answer, from its tables: a sentence for each comparison of two generators at equal cost."""
  first, others = headline.sentences(built)
  return ' '.join(first or others)


def show(built: Sequence[Table], console: Console, missing: Sequence[str] = ()) -> None:
  """Prints a few columns of the main tables, what is missing, and the answer."""
  from rich import box
  from rich import table as rich_table
  from rich.text import Text

  compared = any(table.name == 'differences' for table in built)
  for table in built:
    if table.rows and table.name in SHORT and not (table.name == 'minus_base' and compared):
      headers, rows = table.readable()
      keep = [headers.index(column) for column in SHORT[table.name]]
      grid = rich_table.Table(title=Text(table.title), box=box.SIMPLE_HEAD, title_justify='left')
      for i in keep:
        grid.add_column(Text(headers[i]), justify='left' if i < 2 or headers[i] == 'verdict' else 'right')
      for row in rows:
        # Names come from a config: never to be read as markup.
        grid.add_row(*(Text(row[i]) for i in keep))
      console.print(grid)
  for line in missing:
    console.print(Text(f'Not finished: {line}'))
  console.print(Text(answer(built), style='bold'))
