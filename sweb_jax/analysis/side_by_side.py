"""Several workdirs side by side: a table a figure, a row what is measured, a column a workdir."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from etils import epath

from sweb_jax.analysis import tables
from sweb_jax.analysis.results import Results, read
from sweb_jax.analysis.study import AnalysisError
from sweb_jax.analysis.table import Cell, Table

_KEYS = {
  'differences': ('comparison', 'learner'),
  'accuracy': ('learner', 'source'),
  'data': ('arm',),
  'data_differences': ('comparison', 'figure'),
}
"""Table of a report -> the columns that name a row."""


def compare(workdirs: Sequence[epath.PathLike]) -> list[Table]:
  """A table for each figure that one of the workdirs has; an empty cell where a workdir has no such row.

  Raises AnalysisError for fewer than two, or one that cannot be read.
  """
  if len(workdirs) < 2:
    raise AnalysisError('give at least two workdirs to compare')
  names = _names(workdirs)
  found = {name: _read(workdir) for name, workdir in zip(names, workdirs, strict=True)}
  built = {name: {t.name: t for t in tables.build(results)} for name, results in found.items()}
  made = []
  for of, keys in _KEYS.items():
    there = {name: t[of] for name, t in built.items() if of in t}
    for figure in dict.fromkeys(f for t in there.values() for f in _figures(t)):
      cells = {name: _cells(t, keys, figure) for name, t in there.items() if figure in t.columns}
      if rows := list(dict.fromkeys(key for of_workdir in cells.values() for key in of_workdir)):
        columns = (f'{name}{end}' for name in names for end in ('', ' low', ' high'))
        made.append(Table(
          f'{of}: {figure}',
          f'{next(iter(there.values())).title}: {figure}',
          (*keys, *columns),
          tuple((*key, *(c for name in names for c in cells.get(name, {}).get(key, (None,) * 3))) for key in rows),
          _note(found),
        ))
  return made


def csv(made: Sequence[Table]) -> str:
  """All tables as one CSV: table, figure, what a row is, and the figures with their intervals."""
  rows = []
  for table in made:
    of, figure = table.name.split(': ', 1)
    keys = len(_KEYS[of])
    rows += [(of, figure, ' · '.join(map(str, row[:keys])), *row[keys:]) for row in table.rows]
  columns = made[0].columns[len(_KEYS[made[0].name.split(': ')[0]]) :] if made else ()
  return Table('', '', ('table', 'figure', 'row', *columns), tuple(rows), '').csv()


def _read(workdir: epath.PathLike) -> Results:
  try:
    return read(workdir)
  except OSError as e:
    raise AnalysisError(f'{workdir}: cannot be read: {e}') from e


def _names(workdirs: Sequence[epath.PathLike]) -> list[str]:
  """The folders' names; those of the same name by their whole path."""
  short = [epath.Path(w).name for w in workdirs]
  return [s if short.count(s) == 1 else str(w) for s, w in zip(short, workdirs, strict=True)]


def _figures(table: Table) -> list[str]:
  """Figures of a table that have an interval; of tables of differences the difference alone."""
  if 'difference' in table.columns:
    return ['difference']
  return [c.removesuffix(' low') for c in table.columns if c.endswith(' low')]


def _cells(table: Table, keys: Sequence[str], figure: str) -> Mapping[tuple[Cell, ...], tuple[Cell, ...]]:
  """What names a row -> the figure, low and high."""
  values = zip(*(table.column(f'{figure}{end}') for end in ('', ' low', ' high')), strict=True)
  return dict(zip(zip(*map(table.column, keys), strict=True), values, strict=True))


def _note(found: Mapping[str, Results]) -> str:
  parts = [
    f'{name}: {r.study.name}, {len(r.study.question_sets)} question set(s)' + (', not finished' if r.missing else '')
    for name, r in found.items()
  ]
  return '; '.join(parts) + '. Intervals: 95 %, each of its own study; they are not of differences between studies.'
