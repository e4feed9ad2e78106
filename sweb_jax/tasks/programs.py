"""What the tasks share whose answers are programs (`mbpp`, `humaneval`): rows, order, fences, verdicts."""

from __future__ import annotations

import hashlib
import re
from collections.abc import Sequence

from etils import epath

from sweb_jax.answers import sandbox
from sweb_jax.records import Problem, RecordError, Sample, Verdict, read_json_lines
from sweb_jax.tasks import TaskError

_FENCED = re.compile(r'^[ \t]*```[^\n`]*\n(.*?)(?:^[ \t]*```|\Z)', re.DOTALL | re.MULTILINE)


def rows(data_dir: epath.PathLike, name: str, fields: dict[str, type], source: str) -> list[tuple[str, dict]]:
  """(where, row) of `name`.jsonl or `name`.jsonl.gz of `data_dir`; every row has `fields` of these types.

  Raises TaskError, which names the file, the line and the field at fault, and ends in `source`.
  """
  path = next((p for end in ('', '.gz') if (p := epath.Path(data_dir) / f'{name}.jsonl{end}').exists()), None)
  if path is None:
    raise TaskError(f'{data_dir}: there is no {name}.jsonl or {name}.jsonl.gz; {source}')
  found = []
  try:
    for line, row in read_json_lines(path):
      where = f'{path}, line {line}'
      for field, kind in fields.items():
        if not isinstance(row.get(field), kind) or not row[field]:
          raise TaskError(f"{where}: the field '{field}' is missing or not a {kind.__name__}; {source}")
      found.append((where, row))
  except RecordError as e:
    raise TaskError(f'{e}; {source}') from e
  return found


def chosen(found: Sequence[Problem], what: str, count: int, seed: int, levels: Sequence[str]) -> list[Problem]:
  """The first `count` of `found` in an order drawn by `seed`; `what` names them in the TaskError of a bad count."""
  if levels:
    raise TaskError(f'config.task.levels names {sorted(levels)}; {what} have no levels: leave it empty')
  if not 1 <= count <= len(found):
    raise TaskError(f'{count} {what} were asked for; there are from 1 to {len(found)}')
  return sorted(found, key=lambda p: hashlib.sha256(f'{seed} {p.id}'.encode()).digest())[:count]


def fenced(text: str) -> str | None:
  """The inside of the first Markdown code fence, closed or running to the end; None where there is none."""
  match = _FENCED.search(text)
  return match[1] if match else None


def before(text: str, stop_strings: Sequence[str]) -> str:
  """`text` up to the first of the stop strings."""
  return text[: min((i for i in (text.find(s) for s in stop_strings) if i >= 0), default=len(text))]


def verdict(sample: Sample, code: str, program: str, tests: str) -> Verdict:
  """Runs `program` against `tests` in the sandbox; right where all pass. The answer is `code`.

  Reasons: 'right', 'truncated', 'no answer', or the status and reason of the sandbox's outcome. Raises
  sandbox.SandboxError where this machine cannot run programs safely.
  """
  if sample.finish == 'length':
    return Verdict(sample.problem_id, sample.index, None, False, 'truncated')
  if not code.strip():
    return Verdict(sample.problem_id, sample.index, None, False, 'no answer')
  outcome = sandbox.run(program, tests)
  right = outcome.status == 'passed'
  reason = 'right' if right else f'{outcome.status}: {outcome.reason}'
  return Verdict(sample.problem_id, sample.index, code, right, reason)
