"""The rows that flow between jobs, and their JSON form: one object a line.

    Problem -> (prompt) -> Sample -> Verdict -> Example

A row is identified by `problem_id` and, for what a model drew, by the sample's `index`: sample (problem, index) is
the same text whichever budget asked for it.
"""

from __future__ import annotations

import dataclasses
import gzip
import hashlib
import json
import math
import os
import re
import zlib
from collections.abc import Iterable, Iterator, Sequence
from typing import Annotated, BinaryIO, TypeVar

import pydantic
from etils import epath

from sweb_jax.runtime import files, typed

MAX_LINE = 16 << 20
"""Bytes of the longest line of a user's file."""

MAX_UNPACKED = 256 << 20
"""Bytes that a user's gzipped file may unpack to; the file itself can be a thousand times shorter."""

_CHUNK = 1 << 20
_LINE = re.compile(rb'\S[^\n]*')
_as_text = json.JSONEncoder(ensure_ascii=False).encode
_KEY = re.compile(rb'\{"problem_id": ("(?:[^"\\]|\\.)*+"), "index": ([0-9]{1,9}), ')
_IDS = b', "tokens": ['  # Inside a text its quotes would have backslashes before them: here the ids begin.
# After the ids. With more than this a name may stand twice, of which JSON takes the last.
_END = re.compile(rb', "finish": "[a-z]*", "logprob": [-+.\de]+\}\s*')
_line = json.JSONEncoder(ensure_ascii=False, default=list).encode  # What it does not know is `Ids`.

Index = Annotated[int, pydantic.Field(ge=0, lt=1 << 31)]

UNKNOWN = -1
"""Stands for a token that was charged and whose id is not known, as of a sample that was drawn elsewhere."""

UNGRADED = 'could not be graded'
"""How the reason of a verdict begins where the grader failed on the sample, which counts as wrong."""


class RecordError(ValueError):
  """A file of records that cannot be read; the message names the file and the line."""


@dataclasses.dataclass(frozen=True)
class Problem:
  """One question with its right answer."""

  id: str
  text: str
  gold: str
  """The final answer alone, as the task writes it."""
  solutions: tuple[str, ...] = ()
  """Solutions written by people (or by the world, for generated problems); data source 'gold'."""
  level: str = ''
  """Difficulty, a name that sorts; empty where a task has none."""


class Ids(Sequence[int]):
  """Token ids as a line of a file has them, equal to a tuple of them.

  Most who read samples want no ids, only how many there are and the last; all of them are nine tenths of the time that
  a line takes to be parsed, and of the memory. So they are parsed when they are looked at.
  """

  __slots__ = ('_text',)

  def __init__(self, text: bytes):
    """`text` is what stands between the brackets of a JSON array of whole numbers."""
    self._text = text

  def __len__(self) -> int:
    return self._text.count(b',') + 1 if self._text else 0

  def __getitem__(self, at):
    return int(self._text.rpartition(b',')[2]) if at == -1 and self._text else self._all()[at]

  def __iter__(self) -> Iterator[int]:
    return iter(self._all())

  def __eq__(self, other: object) -> bool:
    return self._all() == tuple(other) if isinstance(other, Ids | tuple) else NotImplemented

  def __hash__(self) -> int:
    return hash(self._all())

  def __repr__(self) -> str:
    return repr(self._all())

  def _all(self) -> tuple[int, ...]:
    try:
      return tuple(json.loads(b'[%b]' % self._text))
    except ValueError as e:
      raise RecordError(f'ids of a sample cannot be read, {self._text[:40]!r}...: {e}') from e


@dataclasses.dataclass(frozen=True)
class Sample:
  """One drawn solution."""

  problem_id: str
  index: Index
  """0-based number among this problem's samples."""
  text: str
  """The completion up to its stop token or stop string, without it."""
  tokens: Sequence[int]
  """Ids drawn, the stop token included, or UNKNOWN for each; `len(tokens)` is what was charged. `Ids` where they come
  from a file."""
  finish: str
  """'stop': ended by itself. 'length': cut at the limit; such a sample is wrong, and charged."""
  logprob: float
  """Sum over the drawn tokens of the model's log-probability at temperature 1, among ids that may be drawn."""


@dataclasses.dataclass(frozen=True)
class Verdict:
  """What the grader says of one sample."""

  problem_id: str
  index: Index
  answer: str | None
  """The extracted final answer; None where there is none."""
  correct: bool
  """The answer equals the gold answer, and the sample was not cut."""
  reason: str
  """Why, in a few words: 'right', 'wrong answer', 'no answer', 'truncated', ..."""
  valid: bool | None = None
  """Whether every step of the reasoning is right; None where the task cannot tell."""
  lenient: str | None = None
  """The answer in any form that people use, `answer` where there is one; None where the task has one form only."""
  lenient_correct: bool | None = None
  """The lenient answer equals the gold answer; None where the task has one form only."""
  second_opinion: bool | None = None
  """Whether math-verify finds that the lenient answer equals the gold one; None: not asked, or no opinion."""
  second_reason: str = ''
  """'agrees', 'differs' (from `lenient_correct`), or why there is no opinion; '' where it was not asked."""
  vote: Index | None = None
  """Index of the first sample of the problem with the same answer; None without an answer, or where none is cast."""


@dataclasses.dataclass(frozen=True)
class Example:
  """One row to fine-tune on."""

  problem_id: str
  prompt: str
  solution: str


Record = TypeVar('Record', Problem, Sample, Verdict, Example)


def to_json(record: Problem | Sample | Verdict | Example) -> str:
  """One line of JSON, keys in the order of the fields."""
  return _line(vars(record))  # Fields hold plain values: nothing to copy deeply.


def from_json(cls: type[Record], line: str | bytes) -> Record:
  """Reads what `to_json` wrote. Raises ValueError on anything else."""
  if cls is not Sample:
    return typed.from_json(cls, line)
  head, begun, rest = line.partition(_IDS) if isinstance(line, bytes) else (line, b'', b'')
  ids, ended, tail = rest.partition(b']')
  if begun and ended and _END.fullmatch(tail) and _are_ids(ids):
    sample = typed.from_json(cls, head + _IDS + b']' + tail)
    object.__setattr__(sample, 'tokens', Ids(ids))  # As `dataclasses.replace`, in a thirtieth of the time.
    return sample
  sample = typed.from_json(cls, line)
  return dataclasses.replace(sample, tokens=tuple(sample.tokens))


def _are_ids(text: bytes) -> bool:
  """Whether a text looks like whole numbers with ', ' between them: a thirtieth of the time that parsing them takes."""
  between = text.translate(None, b'-0123456789')
  return between == b', ' * (len(between) // 2) and (not text or text[-1:].isdigit()) and b', ,' not in text


def read(cls: type[Record], *paths: epath.PathLike) -> Iterator[Record]:
  """Yields the records of JSON-lines files. Raises RecordError, which names the file and the line at fault.

  A file is read line by line; several on an object store, which may be small and many, whole, a few at a time.
  """
  if len(paths) > 1 and files.on_object_store(paths[0]):
    for path, data in zip(paths, files.side_by_side(lambda p: epath.Path(p).read_bytes(), paths), strict=True):
      yield from _parsed(cls, path, data.splitlines())
    return
  for path in paths:
    with epath.Path(path).open('rb') as file:
      yield from _parsed(cls, path, file)


def _parsed(
  cls: type[Record], path: epath.PathLike, lines: Iterable[bytes], first: int = 1
) -> Iterator[Record]:
  # Bytes: as text, a line would also end at U+2028 and its like, which models write.
  for number, line in enumerate(lines, first):
    try:
      yield from_json(cls, line)
    except ValueError as e:
      raise RecordError(f'{path}, line {number}: not a {cls.__name__}: {e}') from e


def key(text: bytes, start: int = 0) -> tuple[str, int] | None:
  """Problem id and index of the row whose line begins at `start`; None where it does not begin as `to_json` has it."""
  if not (found := _KEY.match(text, start)):
    return None
  try:
    name = found[1][1:-1].decode()
    return name if name.isprintable() and '\\' not in name else json.loads(found[1]), int(found[2])
  except ValueError:  # What has to be escaped is not, or is in another way.
    return None


def text_key(text: str) -> int:
  """A 64-bit name for `text`, the same for texts that differ only in white space."""
  digest = hashlib.blake2b(' '.join(text.split()).encode(), digest_size=8).digest()
  return int.from_bytes(digest, 'big', signed=True)


def lengths(path: epath.PathLike) -> Iterator[tuple[str, int, int]]:
  """Yields problem id, index and number of ids of each sample of a file; a fifth of the work of reading its texts.

  Raises RecordError as `read` does.
  """
  for number, line in enumerate(epath.Path(path).read_bytes().splitlines(), 1):
    head, _, rest = line.partition(_IDS)
    ids, _, end = rest.partition(b']')
    # Quotes that are no part of a text: with more, a name stands twice, of which JSON takes the last.
    plain = head.count(b'"') - head.count(b'\\"') == 10 and _END.fullmatch(end)
    if ids and plain and (begun := key(line)):
      yield *begun, len(Ids(ids))
    else:
      (sample,) = _parsed(Sample, path, [line], number)
      yield sample.problem_id, sample.index, len(sample.tokens)


def dumps(records: Iterable[Problem | Sample | Verdict | Example]) -> str:
  """The JSON-lines text of `records`."""
  return ''.join(to_json(r) + '\n' for r in records)


def read_json_lines(path: epath.PathLike) -> Iterator[tuple[int, dict]]:
  """Yields (line number, object) of a user's JSON-lines file, plain or gzipped; lines that are blank are passed over.

  Reads as it goes: what is held is one line and a chunk. Raises RecordError where the file is missing or no regular
  file, where it unpacks to more than `MAX_UNPACKED`, or a line is longer than `MAX_LINE` or not a JSON object of
  Unicode texts.
  """
  for number, line in read_lines(path, MAX_UNPACKED):
    yield number, json_object(line, f'{path}, line {number}')


def read_lines(path: epath.PathLike, most: float = math.inf) -> Iterator[tuple[int, bytes]]:
  """Yields (line number, bytes) of such a file, whatever a line holds; a gzipped one may unpack to `most` bytes.

  Raises RecordError as `read_json_lines` does, but for what a line holds.
  """
  path = epath.Path(path)
  # A pipe or a device may never end. What stands on an object store does not exist for `os.path`, and is no such thing.
  if os.path.exists(path) and not os.path.isfile(path):
    raise RecordError(f'{path}: not a regular file; write what it gives into one, and name that')
  try:
    with path.open('rb') as file:
      packed = file.read(2) == b'\x1f\x8b'
      file.seek(0)
      yield from _lines(gzip.GzipFile(fileobj=file) if packed else file, path, most if packed else math.inf)
  except (OSError, EOFError, zlib.error) as e:
    raise RecordError(f'{path}: cannot be read: {e}') from e


def _lines(file: BinaryIO, path: epath.Path, most: float) -> Iterator[tuple[int, bytes]]:
  """Yields number and text of every line that is not blank, from its first character that is no space."""
  number, rest, read = 1, b'', 0
  while chunk := file.read(_CHUNK):
    read += len(chunk)
    if read > most:
      raise RecordError(f'{path}: unpacks to more than {most / 2**20:.0f} MB; if that is right, gunzip it first')
    text = rest + chunk
    end = text.rfind(b'\n') + 1
    at = 0
    for line in [] if text.isspace() else _LINE.finditer(text, 0, end):
      number += text.count(b'\n', at, line.start())
      at = line.start()
      yield number, line[0]
    number += text.count(b'\n', at, end)
    rest = text[end:]
    if len(rest) > MAX_LINE:
      raise RecordError(f'{path}, line {number}: longer than {MAX_LINE >> 20} MB; a line is one JSON object')
  if rest.strip():
    yield number, rest.lstrip()


def json_object(line: bytes, where: str) -> dict:
  """The JSON object of a line. Raises RecordError, which begins with `where`, for anything else."""
  try:
    row = json.loads(line)
    _as_text(row).encode()
  except UnicodeEncodeError as e:  # JSON may spell halves of characters, which no tokenizer and no file takes.
    raise RecordError(f'{where}: a text in it is not Unicode: {e}') from e
  except RecursionError as e:
    raise RecordError(f'{where}: nested too deeply') from e
  except ValueError as e:
    raise RecordError(f'{where}: not JSON: {e}') from e
  if not isinstance(row, dict):
    raise RecordError(f'{where}: expected a JSON object, found {type(row).__name__}')
  return row
