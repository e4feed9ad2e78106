"""An arm's examples as ids, made once for all its trainings: by learners with one tokenizer, at all rates and seeds.

They are kept in the workdir under a name that says of which examples and which tokenizer they are.
"""

from __future__ import annotations

import array
import dataclasses
import io
import itertools
import threading
import zipfile

import numpy as np
from etils import epath
from jaxtyping import Int

from sweb_jax import layout, records
from sweb_jax.records import Example
from sweb_jax.runtime import files, manifest
from sweb_jax.study.context import Context
from sweb_jax.study.step import digest
from sweb_jax.tasks.rendering import Renderer
from sweb_jax.training import DataError, Rows

_FORMAT = 3
_DTYPE = np.dtype('<i4')
_AT_ONCE = 1024
"""Examples that are encoded together."""
_MAKING = threading.Lock()
_PARSING = threading.Lock()
"""Of headers of arrays: numpy reads them by `ast`, which Python 3.11 cannot do in two threads. Where garbage is
collected in one, the other goes on, and the first then ends in a SystemError."""


@dataclasses.dataclass(frozen=True, eq=False)
class Tokenised:
  """N examples of P problems."""

  rows: Rows
  problems: np.ndarray
  """[P]: ids."""
  problem: Int[np.ndarray, ' N']
  """Which of `problems` each is of."""
  text: Int[np.ndarray, ' N']
  """`text_key` of each solution."""

  def fitting(self, row_length: int, too_long: str) -> Tokenised:
    """The examples that fit a row: one takes a column less than it has ids.

    With `too_long` of 'refuse' all are kept, and who packs them will name the one that is too long.
    """
    if too_long == 'refuse':
      return self
    fit = self.rows.lengths - 1 <= row_length
    rows = Rows(self.rows.ids, self.rows.spans[fit])
    return Tokenised(rows, self.problems, self.problem[fit], self.text[fit])

  def about(self) -> dict[str, int]:
    """The size of the data set."""
    return {
      'examples': len(self.rows),
      'problems': len(np.unique(self.problem)),
      'unique': len(np.unique(np.stack([self.problem, self.text]), axis=1).T),
      'tokens': int(self.rows.lengths.sum()),
    }

  def names(self) -> list[str]:
    """What messages call each example."""
    return [f'{i} ({self.problems[p]})' for i, p in enumerate(self.problem)]


def make(context: Context, folder: str, renderer: Renderer) -> epath.Path:
  """Makes what is missing of the arrays of a step of examples, for a renderer without worked examples.

  Returns where they are. Of trainings side by side, one does it for all.
  """
  path = context.root / folder / layout.EXAMPLES
  of = [_FORMAT, manifest.checksum(path), renderer.tokenizer.fingerprint, renderer.chat]
  place = context.root / layout.TOKENISED / digest(of)
  with _MAKING:
    if context.hosts.leads and not (place / layout.SPANS).exists():
      _make(context, path, renderer, place)
  return place


def read(context: Context, folder: str, renderer: Renderer) -> Tokenised:
  """The examples of a step of examples as zero-shot rows; all processes of a run call it alike, and the first makes it.

  Raises DataError where what was kept is damaged.
  """
  place = make(context, folder, renderer)
  context.hosts.barrier(f'tokenised {folder}')
  try:
    with _PARSING, np.load(io.BytesIO((place / layout.SPANS).read_bytes())) as file:
      found = dict(file)
    if str(found['checksum']) != manifest.checksum(place / layout.IDS):
      raise ValueError(f'{layout.IDS} is not as it was written')
    rows = Rows(_ids(place / layout.IDS), found['spans'])
    return Tokenised(rows, found['problems'], found['problem'], found['text'])
  except (ValueError, KeyError, OSError, EOFError, zipfile.BadZipFile) as e:
    raise DataError(f'{place}: damaged ({e}); delete this folder, and it is made again') from e


def _make(context: Context, path: epath.Path, renderer: Renderer, place: epath.Path) -> None:
  """Encodes examples, each prompt once, and writes the arrays; the small ones last, and with them it is done."""
  prompts: dict[str, tuple[int, int]] = {}
  problems: dict[str, int] = {}
  spans, problem, text = array.array('q'), array.array('i'), array.array('q')
  examples = records.read(Example, path)
  with files.writing(place / layout.IDS) as file:
    end = 0

    def put(found: tuple[int, ...]) -> tuple[int, int]:
      nonlocal end
      file.write(np.asarray(found, _DTYPE).tobytes())
      end += len(found)
      return end - len(found), end

    while some := list(itertools.islice(examples, _AT_ONCE)):
      context.check()
      new = list(dict.fromkeys(e.prompt for e in some if e.prompt not in prompts))
      prompts |= zip(new, map(put, renderer.prompts(new)), strict=True)
      for e, solution in zip(some, renderer.solutions([e.solution for e in some]), strict=True):
        spans.extend((*prompts[e.prompt], *put(solution)))
        problem.append(problems.setdefault(e.problem_id, len(problems)))
        text.append(records.text_key(e.solution))
      context.hosts.progressed()
  arrays = {
    'spans': np.asarray(spans, np.int64).reshape(-1, 4),
    'problems': np.array(list(problems)),
    'problem': np.asarray(problem, np.int32),
    'text': np.asarray(text, np.int64),
    'checksum': np.array(manifest.checksum(place / layout.IDS)),
  }
  with files.writing(place / layout.SPANS) as file:
    np.savez(file, **arrays)


def _ids(path: epath.Path) -> Int[np.ndarray, ' T']:
  """Of a local file, what is looked at is read; an object is read whole."""
  return np.frombuffer(path.read_bytes(), _DTYPE) if files.on_object_store(path) else np.memmap(path, _DTYPE, 'r')
