"""The report of a workdir: tables as files, one self-contained HTML page, a short form for the terminal."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING

from etils import epath

from sweb_jax import layout
from sweb_jax.analysis import filters, graders, judges, page, rounds, tables, transfer
from sweb_jax.analysis.intervals import UNDECIDED
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
  built = tables.build(results)
  for more in (transfer, filters, judges):
    progressed()
    built += more.build(results, workdir)
  built += graders.build(results) + rounds.build(results)
  folder = epath.Path(workdir) / layout.TABLES
  names = {table.name for table in built}
  for old in folder.glob('*') if folder.exists() else ():
    if old.stem not in names:
      old.unlink()  # Of an earlier report, which had something to say there.
  for table in built:
    files.write_text(folder / f'{table.name}.csv', table.csv())
    files.write_text(folder / f'{table.name}.json', table.json())
  page.write(workdir, results, built, answer(built), prompt or (lambda problem: problem.text))
  return built


def read_tables(workdir: epath.PathLike) -> list[Table]:
  """The tables of a report that was written. Raises AnalysisError where there is none."""
  folder = epath.Path(workdir) / layout.TABLES
  names = (*tables.NAMES, *transfer.NAMES, filters.NAME, judges.NAME, graders.NAME, rounds.NAME)
  paths = [folder / f'{name}.json' for name in names]
  if found := [Table.from_json(path.read_text()) for path in paths if path.exists()]:
    return found
  raise AnalysisError(f'{folder} holds no table: run the stage report first')


def answer(built: Sequence[Table]) -> str:
  """The study's answer in a sentence for each way of matching, from its tables."""
  named = {table.name: table for table in built}
  if 'differences' not in named:
    table = named['minus_base']
    if not table.rows:
      return 'No fine-tuned learner has been evaluated yet: there is nothing to compare.'
    verdicts = table.column('verdict')
    worse, undecided = verdicts.count('base'), verdicts.count(UNDECIDED)
    return (
      f'Fine-tuning raised greedy accuracy in {len(verdicts) - worse - undecided} of {len(verdicts)} cases, lowered it '
      f'in {worse}, {undecided} undecided at 95 %{_on(table)}.'
    )
  table = named['differences']
  sentences = []
  for matched in dict.fromkeys(table.column('matched')):
    rows = [dict(zip(table.columns, row, strict=True)) for row in table.rows]
    rows = [row for row in rows if row['matched'] == matched]
    won = Counter(row['verdict'] for row in rows)
    first, *others = dict.fromkeys(row[side] for row in rows for side in ('side A', 'side B'))
    counts = [
      f'{first} data won in {won[first]} of {len(rows)} comparisons',
      *(f'{side} data in {won[side]}' for side in others),
      f'{won[UNDECIDED]} undecided at 95 %{_on(table)}',
    ]
    sentences.append(f'{matched.capitalize() + "-matched: " if matched else ""}{", ".join(counts)}.')
  return ' '.join(sentences)


def show(built: Sequence[Table], console: Console, missing: Sequence[str] = ()) -> None:
  """Prints a few columns of the main tables, what is missing, and the answer."""
  from rich import box
  from rich import table as rich_table
  from rich.text import Text

  for table in built:
    if table.rows and table.name in SHORT and not (table.name == 'minus_base' and built[0].name == 'differences'):
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


def _on(table: Table) -> str:
  return f' ({", ".join(dict.fromkeys(table.column("holds for")))})'
