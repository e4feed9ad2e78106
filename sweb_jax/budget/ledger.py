"""What was spent: every token drawn is charged, whether the sample was kept, wrong or cut, and every prompt read.

Samples are written in immutable files, and so is the ledger beside them: `ledger-000000.jsonl`, ... hold a line for
each finished file of samples and are never changed; new lines come in a new file. A line names its file and is derived
from what is in it, so a crash between the two costs nothing: `settle` writes lines that are missing, `read` counts a
file once and only while it exists, and charges one without a line from its samples. Of a file that a crash took with
it nothing is charged; its samples are drawn, and charged, again. Where a file is damaged later, an empty one stays in
its place (`python -m sweb_jax.study check --repair`): what was charged stays charged.
"""

from __future__ import annotations

import collections
import dataclasses
import json
from collections.abc import Iterable, Mapping, Sequence

from etils import epath

from sweb_jax import layout, records
from sweb_jax.budget.cost import BudgetError, Prompts
from sweb_jax.runtime import files, typed

KINDS = ('prefix', 'prompt', 'completion', 'evaluation', 'validation', 'judge')
"""Worked examples and prompts that were read; tokens drawn for training data, on test and on validation problems, and
by a judge."""
_READ = ('prefix', 'prompt')
_DEPTH = 7
"""Folders below a workdir: 'scores/svamp/set0/student/wc_low/rate_0.001/greedy'."""
_DRAWN = {'scores': 'evaluation', 'opinions': 'judge'}
"""Kind of step -> what its tokens are called, where they are not training data."""


@dataclasses.dataclass(frozen=True)
class Entry:
  """What one file of samples cost."""

  file: str
  """Its name, in the folder of the ledger."""
  job: str
  model: str
  tokens: Mapping[str, int]
  """By kind, of `KINDS`."""
  seconds: float = 0.0
  """Device seconds since the entry before: wall time times devices; 0 where an earlier process drew the samples."""


class Ledger:
  """The ledger of one job's folder.

  Args:
    folder: where the samples are.
    job: name of the job.
    model: who draws.
    prompts: problem id -> what is read before its samples.
    kind: of the drawn tokens, of `KINDS`.
    first: the lowest index that is drawn in this folder: with it a problem's prompt is charged.
  """

  def __init__(
    self,
    folder: epath.PathLike,
    *,
    job: str,
    model: str,
    prompts: Mapping[str, Prompts],
    kind: str = 'completion',
    first: int = 0,
  ):
    self._folder = epath.Path(folder)
    self._job, self._model, self._prompts, self._kind = job, model, prompts, kind
    self._first = first

  def settle(self, seconds: float = 0.0) -> None:
    """Writes a line for every file of samples that has none; the last of them takes the `seconds`."""
    found = sorted(p.name for p in self._folder.glob(layout.CHUNKS))
    charged = {e.file for e in _lines(self._folder, found)}
    new = [name for name in found if name not in charged]
    if not new:
      return
    counts = files.side_by_side(lambda name: self._count(name, name == found[0]), new)
    entries = [
      Entry(name, self._job, self._model, count, seconds if name == new[-1] else 0.0)
      for name, count in zip(new, counts, strict=True)
    ]
    append(self._folder, entries)

  def _count(self, name: str, first_file: bool) -> dict[str, int]:
    counts: collections.Counter[str] = collections.Counter()
    each = next((p.each for p in self._prompts.values()), 0)
    for problem_id, index, tokens in records.lengths(self._folder / name):
      counts[self._kind] += tokens
      if index == self._first or (each and index % each == 0):
        prompts = self._prompts[problem_id]
        counts['prompt'] += prompts.prompt
        counts['prefix'] += 0 if prompts.shared else prompts.prefix
    if first_file:
      counts['prefix'] += next((p.prefix for p in self._prompts.values() if p.shared), 0)
    return {kind: counts[kind] for kind in KINDS if counts[kind]}


def append(folder: epath.PathLike, entries: Iterable[Entry]) -> None:
  """Adds entries to a folder's ledger, as a file of their own."""
  folder = epath.Path(folder)
  number = layout.next_number(layout.LEDGERS, (p.name for p in folder.glob(layout.LEDGERS)))
  text = ''.join(json.dumps(dataclasses.asdict(e)) + '\n' for e in entries)
  files.write_text(folder / layout.numbered(layout.LEDGERS, number), text)


def _lines(folder: epath.Path, chunks: Sequence[str]) -> list[Entry]:
  """The lines of a folder's ledger whose file exists, each file once; `chunks` are those of the folder.

  Raises BudgetError for a damaged line.
  """
  entries: dict[str, Entry] = {}
  for path in sorted(folder.glob(layout.LEDGERS)):
    for number, line in enumerate(path.read_bytes().splitlines(), 1):
      try:
        entry = typed.from_json(Entry, line)
        entries.setdefault(entry.file, entry)
      except ValueError as e:
        raise BudgetError(f'{path}, line {number}: not a line of a ledger ({e}); remove the file') from e
  there = set(chunks)  # Listed once: to ask for each of many takes an object store long.
  return [e for e in entries.values() if e.file in there or (folder / e.file).exists()]


def read(workdir: epath.PathLike) -> list[Entry]:
  """What is charged below a folder, in the order of the folders' names.

  A file of samples without a line, as a killed run leaves it until it goes on, is charged its drawn tokens.
  """
  workdir = epath.Path(workdir)
  depths = ('*/' * d for d in range(_DEPTH + 1))  # Not '**': a request a folder of an object store.
  found = (p for d in depths for name in (layout.LEDGERS, layout.CHUNKS) for p in workdir.glob(f'{d}{name}'))
  places = {'/'.join(p.parent.parts[len(workdir.parts) :]): p.parent for p in found}
  entries = []
  for job, folder in sorted(places.items()):
    if layout.kind_of(job) == layout.SUPERSEDED:
      continue
    chunks = sorted(folder.glob(layout.CHUNKS))
    lines = _lines(folder, [p.name for p in chunks])
    entries += lines
    charged = {e.file for e in lines}
    for path in chunks:
      if path.name not in charged:
        said = folder / layout.PROMPTS
        model = files.read_json(said)['model'] if said.exists() else folder.name
        kind = _DRAWN.get(layout.kind_of(job), 'completion')
        entries.append(Entry(path.name, job, model, {kind: sum(n for *_, n in records.lengths(path))}))
  return entries


def by_model(entries: Iterable[Entry]) -> dict[str, collections.Counter[str]]:
  """Model -> kind of token, of `KINDS` -> how many were charged."""
  found: dict[str, collections.Counter[str]] = {}
  for entry in entries:
    found.setdefault(entry.model, collections.Counter()).update(entry.tokens)
  return found


def dollars(price: tuple[float, float] | None, tokens: Mapping[str, int]) -> float:
  """What tokens cost at dollars a million of those read and of those drawn; 0 where there is no price."""
  if price is None:
    return 0.0
  read = sum(tokens.get(kind, 0) for kind in _READ)
  return (price[0] * read + price[1] * (sum(tokens.values()) - read)) / 1e6
