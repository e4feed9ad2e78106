"""How far this project's verdicts agree with the labels of a published file of graded solutions."""

from __future__ import annotations

import dataclasses

from etils import epath

from sweb_jax.answers.equal import normal_number, same_number
from sweb_jax.answers.extract import extract
from sweb_jax.answers.math_equal import Policy, equal
from sweb_jax.records import RecordError, read_json_lines

SHOWN = 20
"""Disagreements that are kept."""


@dataclasses.dataclass(frozen=True)
class Disagreement:
  """A row whose label and verdict differ."""

  line: int
  gold: str
  answer: str | None
  label: bool
  """What was published; the verdict is the opposite."""


@dataclasses.dataclass(frozen=True)
class Agreement:
  """Counts over the rows of one file."""

  name: str
  n: int
  agreements: int
  false_accepts: int
  """Right by this project, wrong by the label."""
  false_rejects: int
  """Wrong by this project, right by the label."""
  disagreements: tuple[Disagreement, ...]
  """The first `SHOWN`."""
  skipped: tuple[int, ...] = ()
  """Lines of gsm8k rows whose gold is no number; they are in no count."""

  @property
  def share(self) -> float:
    """Agreements over rows."""
    return self.agreements / self.n


def agreement(path: epath.PathLike, *, lenient: bool = True, policy: Policy = Policy()) -> Agreement:  # noqa: B008
  """Grades the rows of a JSON-lines file, plain or gzipped: `gold`, `solution`, `label` (true or false), `dataset`.

  A data set whose name begins with or contains 'gsm8k' is read as gsm8k, one with 'math' as math. With `lenient`, an
  answer in another form than the task's counts: these solutions were not written for this project's prompts. Raises
  RecordError, which names the file, the line and the field, where a field is missing, or no row can be graded.
  """
  path = epath.Path(path)
  n = agreements = accepts = rejects = 0
  shown: list[Disagreement] = []
  skipped: list[int] = []
  for line, row in read_json_lines(path):
    for field, kind in (('gold', str), ('solution', str), ('label', bool), ('dataset', str)):
      if not isinstance(row.get(field), kind):
        raise RecordError(f"{path}, line {line}: the field '{field}' is missing or no {kind.__name__}")
    task = next((task for task in ('gsm8k', 'math') if task in row['dataset']), None)
    if task is None:
      raise RecordError(f'{path}, line {line}: dataset={row["dataset"]!r} is neither of gsm8k nor of math')
    found = extract(task, row['solution'])
    answer = found.lenient if lenient else found.strict
    if task == 'gsm8k' and normal_number(row['gold']) is None:
      skipped.append(line)
      continue
    if answer is None:
      right = False
    else:
      right = same_number(row['gold'], answer) if task == 'gsm8k' else equal(row['gold'], answer, policy)
    n += 1
    if right == row['label']:
      agreements += 1
      continue
    accepts += right
    rejects += not right
    if len(shown) < SHOWN:
      shown.append(Disagreement(line, row['gold'], answer, row['label']))
  if not n:
    raise RecordError(f'{path}: there is no row that can be graded')
  return Agreement(path.name, n, agreements, accepts, rejects, tuple(shown), tuple(skipped))
