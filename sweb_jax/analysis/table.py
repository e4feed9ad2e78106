"""A table as plain data, and its text forms: CSV, JSON, cells for a reader."""

from __future__ import annotations

import csv
import dataclasses
import io
import json

from sweb_jax.runtime import typed

Cell = str | int | float | None
FORMATS = {'difference': '+.3f', 'within sets': '+.3f', 'relative': '+.1%', 'minutes': ',.1f', 'dollars': ',.2f'}
"""Column -> how a number in it is written, if not with three decimals."""


@dataclasses.dataclass(frozen=True)
class Table:
  """One table; a row holds one cell a column."""

  name: str
  """File name without its ending."""
  title: str
  columns: tuple[str, ...]
  """A figure `x` has its 95 % interval in the columns `x low` and `x high`, side by side."""
  rows: tuple[tuple[Cell, ...], ...]
  note: str
  """What the figures are, for a reader who sees the table alone."""

  def column(self, name: str) -> list[Cell]:
    """The cells of one column. Raises ValueError for an unknown name."""
    return [row[self.columns.index(name)] for row in self.rows]

  def csv(self) -> str:
    """The table as CSV with a header; an empty cell is a figure that does not exist."""
    text = io.StringIO()
    csv.writer(text, lineterminator='\n').writerows([self.columns, *self.rows])
    return text.getvalue()

  def json(self) -> str:
    """All fields as JSON."""
    return json.dumps(dataclasses.asdict(self), ensure_ascii=False, indent=1) + '\n'

  @classmethod
  def from_json(cls, text: str | bytes) -> Table:
    """Reads what `json` wrote. Raises ValueError for anything else."""
    return typed.from_json(cls, text)

  def readable(self) -> tuple[list[str], list[list[str]]]:
    """Headers and cells as text, an interval beside its figure: '0.349 [0.312, 0.386]'."""
    headers: list[str] = []
    columns: list[list[str]] = []
    for i, column in enumerate(self.columns):
      cells = [row[i] for row in self.rows]
      if column.endswith(' low'):
        figure, highs = column.removesuffix(' low'), [row[i + 1] for row in self.rows]
        texts = [_interval(figure, low, high) for low, high in zip(cells, highs, strict=True)]
        if headers and headers[-1] == figure:
          columns[-1] = [f'{value} {text}'.strip() for value, text in zip(columns[-1], texts, strict=True)]
        else:
          headers.append(figure)
          columns.append(texts)
      elif not column.endswith(' high'):
        headers.append(column)
        columns.append([_text(column, cell) for cell in cells])
    return headers, [list(row) for row in zip(*columns, strict=True)]


def _interval(figure: str, low: Cell, high: Cell) -> str:
  return '' if low is None else f'[{_text(figure, low)}, {_text(figure, high)}]'


def _text(figure: str, cell: Cell) -> str:
  if cell is None:
    return '–'
  if isinstance(cell, str):
    return cell
  if isinstance(cell, int):
    return f'{cell:,}' if cell < 1e9 else f'{cell:.3e}'
  # Rounded first: nothing is shown as -0.000.
  return format(round(cell, 3) + 0.0, FORMATS.get(figure, '.3f'))
