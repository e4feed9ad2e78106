"""The rows of a step's files problem by problem, in whatever order they stand there, without holding them all.

A first pass over the files notes where each row lies, by what its line begins with. Then the rows of some problems at a
time are read, each file once. What is held is 20 bytes a row, and the rows of those problems.
"""

from __future__ import annotations

import struct
from collections import defaultdict
from collections.abc import Collection, Iterable, Iterator, Sequence
from typing import Generic

from etils import epath

from sweb_jax import records
from sweb_jax.records import Record
from sweb_jax.runtime import files

_ROWS = 8192
"""Rows that are held at once, and more where one problem has more."""


_PLACE = struct.Struct('<iiqi')
"""Of a row: its index, the number of its file, where its line begins, and how long it is."""


class ByProblem(Generic[Record]):
  """The rows of some files, each with a `problem_id` and an `index`.

  Args:
    cls: of the rows.
    paths: files of JSON lines, as `records.dumps` writes them.
    latest: of two rows of the same problem and index the later one stands; else the earlier one.
    of: the problems that will be asked for; None: any.

  Raises:
    RecordError: a line that does not begin and end as such a row does, with its file and number; when it is read, one
      that is no such row.
  """

  def __init__(
    self, cls: type[Record], paths: Sequence[epath.Path], *, latest: bool = False, of: Collection[str] | None = None
  ):
    self._cls, self._paths, self._latest, self._of = cls, list(paths), latest, None if of is None else frozenset(of)
    self._places: dict[str, bytearray] = defaultdict(bytearray)
    """Problem id -> places of its rows, one after the other."""
    for number, data in enumerate(files.side_by_side(lambda path: path.read_bytes(), self._paths)):
      self._note(number, data)

  def indices(self, problem_id: str) -> list[int]:
    """The indices of a problem's rows, from the lowest."""
    return sorted(self._rows_of(problem_id))

  def read(self, problem_ids: Iterable[str]) -> Iterator[list[Record]]:
    """Yields the rows of each problem, by index; an empty list where there are none."""
    batch: dict[str, dict[int, tuple[int, int, int]]] = {}
    rows = 0
    for problem_id in problem_ids:
      batch[problem_id] = self._rows_of(problem_id)
      rows += len(batch[problem_id])
      if rows >= _ROWS:
        yield from self._read(batch)
        batch, rows = {}, 0
    yield from self._read(batch)

  def _note(self, number: int, data: bytes) -> None:
    """Notes where the rows of a file lie."""
    start = 0
    while start < len(data):
      end = data.find(b'\n', start)
      end = len(data) if end < 0 else end
      found = records.key(data, start) if data[end - 1 : end] == b'}' else None
      if found is None:
        row = self._parsed(number, data[start:end])
        found = row.problem_id, row.index
      if self._of is None or found[0] in self._of:
        self._places[found[0]] += _PLACE.pack(found[1], number, start, end - start)
      start = end + 1

  def _rows_of(self, problem_id: str) -> dict[int, tuple[int, int, int]]:
    """Index -> file, begin and end of the row that stands."""
    found: dict[int, tuple[int, int, int]] = {}
    for index, number, start, length in _PLACE.iter_unpack(self._places.get(problem_id, b'')):
      if self._latest or index not in found:
        found[index] = number, start, start + length
    return found

  def _read(self, batch: dict[str, dict[int, tuple[int, int, int]]]) -> Iterator[list[Record]]:
    spans = defaultdict(list)
    for problem_id, rows in batch.items():
      for index, (number, start, end) in rows.items():
        spans[number].append((start, end, problem_id, index))
    found: dict[str, dict[int, Record]] = {problem_id: {} for problem_id in batch}
    for number, first, data in files.side_by_side(self._span, spans.items()):
      for start, end, problem_id, index in spans[number]:
        row = self._parsed(number, data[start - first : end - first])
        if (row.problem_id, row.index) != (problem_id, index):  # Of a name that stands twice JSON takes the last.
          where = f'{self._paths[number]}: the row of sample {index} of {problem_id!r}'
          raise records.RecordError(f'{where} says {row.problem_id!r} and {row.index} further on')
        found[problem_id][index] = row
    for problem_id in batch:
      rows = found.pop(problem_id)
      yield [rows[index] for index in sorted(rows)]

  def _span(self, item: tuple[int, list[tuple]]) -> tuple[int, int, bytes]:
    """A file's number, where the first of some of its rows begins, and what it holds from there to the last's end."""
    number, wanted = item
    first = min(start for start, *_ in wanted)
    with self._paths[number].open('rb') as file:
      file.seek(first)
      return number, first, file.read(max(end for _, end, *_ in wanted) - first)

  def _parsed(self, number: int, line: bytes) -> Record:
    try:
      return records.from_json(self._cls, line)
    except ValueError:
      list(records.read(self._cls, self._paths[number]))  # Raises an error that has the line's number.
      raise
