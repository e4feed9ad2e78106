"""Samples that were drawn elsewhere: files of rows, matched to problems, as the samples of a generator.

Files are read as often as they are needed and never held: what stays is, for each problem, which indices there are.
Samples of a problem are numbered 0, 1, ... in the order of the numbers that the rows give them, or of the rows: so the
first so many of a problem are a prefix, as of a generator that draws.
"""

from __future__ import annotations

import collections
import dataclasses
import functools
import glob
import hashlib
import itertools
import os
import statistics
import threading
from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from typing import Any, NamedTuple

from etils import epath

from sweb_jax import records
from sweb_jax.records import RecordError, Sample
from sweb_jax.runtime import files
from sweb_jax.sampling.rows import Fields, RowError, Taken

SHOWN = 3
"""Rows that are named of each kind of fault; the others are counted."""
_UNDERSTOOD = 5
"""Rows that are shown as they were understood."""
_NO_COUNT = 'nothing says how many tokens were drawn; name the field as fields.tokens, or a tokenizer that counts them'
_PARQUET = b'PAR1'


class Asked(NamedTuple):
  """A problem whose samples are looked for."""

  id: str
  texts: tuple[str, ...]
  """By any of these a row may name it, white space aside."""


class Placed(NamedTuple):
  """A sample with its problem."""

  where: str
  """File and row."""
  problem_id: str
  index: int
  """As the row has it, or the next one."""
  taken: Taken


@dataclasses.dataclass
class Survey:
  """What files hold for some problems."""

  rows: int = 0
  seen: dict[str, int] = dataclasses.field(default_factory=dict)
  """Problem id -> bit i is set where it has the index i."""
  prompt_tokens: dict[str, int] = dataclasses.field(default_factory=dict)
  """Problem id -> tokens of its prompt, by the first row that says so."""
  tokens: collections.Counter[int] = dataclasses.field(default_factory=collections.Counter)
  """Tokens of a sample -> how many have as many, of those that say so."""
  empty: int = 0
  cut: int = 0
  faults: collections.Counter[str] = dataclasses.field(default_factory=collections.Counter)
  """Kind of fault -> rows or samples that are not used because of it."""
  named: dict[str, list[str]] = dataclasses.field(default_factory=lambda: collections.defaultdict(list))
  """Kind of fault -> messages on the first of them, which name file and row."""
  first: list[Placed] = dataclasses.field(default_factory=list)
  """The first that were understood."""

  @property
  def counts(self) -> dict[str, int]:
    """Problem id -> samples."""
    return {name: mask.bit_count() for name, mask in self.seen.items()}

  @property
  def samples(self) -> int:
    return sum(self.counts.values())

  def lacking(self, problems: Collection[str], count: int) -> dict[str, int]:
    """Problem id -> its samples, of those with fewer than `count`."""
    counts = self.counts
    return {p: counts.get(p, 0) for p in problems if counts.get(p, 0) < count}

  def a_problem(self, problems: Collection[str]) -> tuple[int, float, int]:
    """The least, the median and the most samples of a problem."""
    found = self.counts
    counts = [found.get(p, 0) for p in problems]
    return min(counts), statistics.median(counts), max(counts)


@dataclasses.dataclass(frozen=True, eq=False)
class Recording:
  """Files of samples."""

  source: str
  """As the config has it, for messages."""
  paths: tuple[epath.Path, ...]
  fields: Fields = dataclasses.field(default_factory=Fields)
  encode: Callable[[str, str], Sequence[int]] | None = None
  """(text, finish) to the ids that are charged where a row does not say how many."""
  _lock: threading.Lock = dataclasses.field(default_factory=threading.Lock)
  _surveys: dict[tuple[Asked, ...], Survey] = dataclasses.field(default_factory=dict)

  @functools.cached_property
  def identity(self) -> str:
    """Names the bytes of the files, in their order."""
    digest = hashlib.sha256()
    for path in self.paths:
      with path.open('rb') as file:
        while chunk := file.read(1 << 20):
          digest.update(chunk)
      digest.update(b'\0')
    return digest.hexdigest()[:16]

  def survey(self, problems: Sequence[Asked]) -> Survey:
    """Reads all files once for each list of problems.

    Raises RecordError where a file cannot be read, or no row is of use.
    """
    with self._lock:
      if (key := tuple(problems)) not in self._surveys:
        self._surveys[key] = self._survey(problems)
      return self._surveys[key]

  def samples(self, problems: Sequence[Asked], wanted: Collection[tuple[str, int]]) -> Iterator[Sample]:
    """Yields those of (problem id, index) that the files have, in the order of the files."""
    survey = self.survey(problems)
    counts = survey.counts
    left = {(p, i) for p, i in wanted if i < counts.get(p, 0)}
    for p in self._placed(problems, Survey()):
      if not left:
        return
      # Its number: how many of the problem come before it.
      index = (survey.seen[p.problem_id] & ((1 << p.index) - 1)).bit_count()
      if (p.problem_id, index) in left:
        left.remove((p.problem_id, index))
        t = p.taken
        tokens = tuple(self.encode(t.text, t.finish)) if t.tokens is None else t.tokens
        yield Sample(p.problem_id, index, t.text, tokens, t.finish, t.logprob)

  def _survey(self, problems: Sequence[Asked]) -> Survey:
    survey = Survey()
    for p in self._placed(problems, survey):
      survey.empty += not p.taken.text.strip()
      survey.cut += p.taken.finish == 'length'
      if p.taken.tokens is not None:
        survey.tokens[len(p.taken.tokens)] += 1
      if p.taken.prompt_tokens is not None:
        survey.prompt_tokens.setdefault(p.problem_id, p.taken.prompt_tokens)
      if len(survey.first) < _UNDERSTOOD:
        survey.first.append(p)
    if not survey.seen:
      said = '; '.join(messages[0] for messages in survey.named.values())
      raise RecordError(f'{self.source}: none of {survey.rows} rows is of use{f": {said}" if said else ""}')
    return survey

  def _placed(self, problems: Sequence[Asked], survey: Survey) -> Iterator[Placed]:
    """Every sample that is of use; `survey` counts the rows, which indices there are, and what is wrong."""
    ids = {p.id for p in problems}
    by_text: dict[bytes, list[str]] = {}
    for p in problems:
      for key in {_text_key(text) for text in p.texts}:
        by_text.setdefault(key, []).append(p.id)

    def refuse(where: str, kind: str, why: str) -> None:
      survey.faults[kind] += 1
      if len(survey.named[kind]) < SHOWN:
        survey.named[kind].append(f'{where}: {why}')

    for where, row in self._rows():
      survey.rows += 1
      try:
        for taken in self.fields.understand(row if isinstance(row, dict) else records.json_object(row, where)):
          name = self._problem(taken, ids, by_text, survey)
          mask = survey.seen.get(name, 0)
          index = mask.bit_length() if taken.index is None else taken.index
          if taken.tokens is None and self.encode is None:
            refuse(where, 'no number of tokens', _NO_COUNT)
          elif mask >> index & 1:
            refuse(where, 'one index twice', f'problem {name!r} has a sample {index} already')
          else:
            survey.seen[name] = mask | 1 << index
            yield Placed(where, name, index, taken)
      except RecordError as e:
        refuse(where, 'not readable', str(e).removeprefix(f'{where}: '))
      except RowError as e:
        refuse(where, e.kind, str(e))

  def _problem(self, taken: Taken, ids: set[str], by_text: Mapping[bytes, list[str]], survey: Survey) -> str:
    """The id of its problem: by id, or by text; of problems with one text the one that has the fewest samples."""
    if taken.problem_id in ids:
      return taken.problem_id
    if taken.problem is not None and (names := by_text.get(_text_key(taken.problem))):
      return min(names, key=lambda name: survey.seen.get(name, 0).bit_count())
    said = [f'id {taken.problem_id!r}'] if taken.problem_id is not None else []
    said += [f'text {" ".join(taken.problem.split())[:60]!r}'] if taken.problem is not None else []
    if not said:
      raise RowError('of no problem', 'neither an id nor the text of a problem is found in it')
    raise RowError('of no problem', f'{" and ".join(said)} {"are" if len(said) > 1 else "is"} of no problem asked')

  def _rows(self) -> Iterator[tuple[str, Any]]:
    """(file and row, the bytes of a line or an object) of every row."""
    for path in self.paths:
      with path.open('rb') as file:
        packed = file.read(len(_PARQUET)) == _PARQUET
      if packed:
        for number, row in enumerate(_parquet(path), 1):
          yield f'{path}, row {number}', row
      else:
        for number, line in records.read_lines(path):
          yield f'{path}, line {number}', line


def open_recording(
  source: str,
  own: Mapping[str, str],
  encode: Callable[[str, str], Sequence[int]] | None,
  *,
  may_lack: bool = False,
) -> Recording:
  """The files of a name or of a pattern with '*', by name.

  Args:
    source: path, or pattern.
    own: of `rows.NAMES` -> the name of the field in these files.
    encode: counts the tokens of a text, where rows do not say.
    may_lack: no file is no error: such a recording has no `paths`.

  Raises:
    RecordError: there is no such file, or it cannot be read.
  """
  paths = tuple(p for p in sorted(_matching(source)) if p.exists())
  if not paths and not may_lack:
    raise RecordError(f'{source}: no such file')
  if folders := [p for p in paths if p.is_dir()]:
    raise RecordError(f'{folders[0]}: a folder; name its files, as with {folders[0]}/*.jsonl')
  if odd := [p for p in paths if os.path.exists(p) and not os.path.isfile(p)]:
    raise RecordError(f'{odd[0]}: not a regular file; write what it gives into one, and name that')
  recording = Recording(source, paths, Fields(own), encode)
  try:
    recording.identity  # noqa: B018 (reads every file once)
  except OSError as e:
    raise RecordError(f'{source}: cannot be read: {e}') from e
  return recording


def _matching(source: str) -> list[epath.Path]:
  if not glob.has_magic(source):
    return [epath.Path(source)]
  if not files.on_object_store(source):
    return [epath.Path(path) for path in glob.glob(source, recursive=True)]
  parts = source.split('/')
  fixed = len(list(itertools.takewhile(lambda part: not glob.has_magic(part), parts)))
  return list(epath.Path('/'.join(parts[:fixed])).glob('/'.join(parts[fixed:])))


def _parquet(path: epath.Path) -> Iterator[dict[str, Any]]:
  import pyarrow
  from pyarrow import parquet

  try:
    with path.open('rb') as file:
      for batch in parquet.ParquetFile(file).iter_batches(batch_size=256):
        yield from batch.to_pylist()
  except (pyarrow.ArrowException, OSError, ValueError, OverflowError) as e:  # Of names and dates, too.
    raise RecordError(f'{path}: not a Parquet file that can be read: {e}') from e


def _text_key(text: str) -> bytes:
  """Of a text, white space aside."""
  return hashlib.blake2b(' '.join(text.split()).encode(errors='surrogatepass'), digest_size=16).digest()
