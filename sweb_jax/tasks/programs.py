"""What the tasks share whose answers are programs (`mbpp`, `humaneval`): rows, order, fences, verdicts."""

from __future__ import annotations

import contextlib
import dataclasses
import itertools
import re
from collections.abc import Iterable, Iterator, Sequence

from etils import epath

from sweb_jax.answers import sandbox
from sweb_jax.records import Problem, Sample, Verdict
from sweb_jax.tasks import TaskError, data_files, splits

_FENCE = re.compile(r'^[ \t]*```([^\n`]*)(?:\n|\Z)', re.MULTILINE)


def rows(
  data_dir: epath.PathLike, dataset: str, name: str, parts: Sequence[str], fields: dict[str, type], source: str
) -> list[tuple[str, dict]]:
  """(where, row) of the whole data set: of its one file `name`, or of all `parts` that TFDS splits it in.

  Every row has `fields` of these types, and a 'task_id' of its own. Raises TaskError, which names the file, the line
  and the field at fault, and ends in `source`.
  """
  parts = parts if str(data_dir).startswith(data_files.TFDS) else parts[:1]
  files = [data_files.require(data_dir, dataset, part, (name, f'{dataset}/{name}'), source) for part in parts]
  found = [row for file in files for row in file.rows]
  seen = set()
  for where, row in found:
    for field, kind in fields.items():
      if not isinstance(row.get(field), kind) or isinstance(row[field], bool) or not row[field]:
        raise TaskError(f"{where}: the field '{field}' is missing or not a {kind.__name__}; {source}")
    if row['task_id'] in seen:
      raise TaskError(f"{where}: the field 'task_id' repeats {row['task_id']}; {source}")
    seen.add(row['task_id'])
  return found


def chosen(found: Sequence[Problem], what: str, count: int, seed: int, levels: Sequence[str]) -> list[Problem]:
  """The first `count` of `found` in an order drawn by `seed`; `what` names them in the TaskError of a bad count."""
  if levels:
    raise TaskError(f'config.task.levels names {sorted(levels)}; {what} have no levels: leave it empty')
  if not 1 <= count <= len(found):
    raise TaskError(f'{count} {what} were asked for; there are from 1 to {len(found)}')
  return sorted(found, key=lambda p: splits.digest(f'{seed} {p.id}'))[:count]


def unfenced(text: str) -> str:
  """The code of a text with Markdown code fences: what is inside the first; all of it where there are none.

  A fence that stands alone opens if it names a language or nothing comes before it; else it closes what does.
  """
  fences = list(_FENCE.finditer(text))
  if not fences:
    return text
  start = text[: fences[0].start()]
  if len(fences) == 1 and start.strip() and not fences[0][1].strip():
    return start
  return text[fences[0].end() : fences[1].start() if len(fences) > 1 else len(text)]


def before(text: str, stop_strings: Sequence[str]) -> str:
  """`text` up to the first of the stop strings."""
  return text[: min((i for i in (text.find(s) for s in stop_strings) if i >= 0), default=len(text))]


@dataclasses.dataclass(frozen=True)
class Answer:
  """What a completion comes to, and how it is tried."""

  code: str
  """The code that the model wrote."""
  program: str
  """A whole program with it."""
  tests: str


def verdicts(answers: Iterable[tuple[Sample, Answer]], workers: int = 1) -> Iterator[Verdict]:
  """Runs each program against its tests in the sandbox, in order, `workers` at a time; right where all tests pass.

  Reasons: 'right', 'truncated', 'no answer', or status and reason of the sandbox's outcome. Raises
  sandbox.SandboxError where this machine cannot run programs safely.
  """
  first, second = itertools.tee(answers)
  # What needs no run is left out, and found again below.
  outcomes = sandbox.run_all(((a.program, a.tests) for s, a in first if not _untried(s, a)), workers)
  with contextlib.closing(outcomes):
    for sample, answer in second:
      if reason := _untried(sample, answer):
        yield Verdict(sample.problem_id, sample.index, None, False, reason)
        continue
      outcome = next(outcomes)
      right = outcome.status == 'passed'
      reason = 'right' if right else f'{outcome.status}: {outcome.reason}'
      yield Verdict(sample.problem_id, sample.index, answer.code, right, reason)


def _untried(sample: Sample, answer: Answer) -> str:
  if sample.finish == 'length':
    return 'truncated'
  return '' if answer.code.strip() else 'no answer'
