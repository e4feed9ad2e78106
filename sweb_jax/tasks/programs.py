"""What the tasks share whose answers are programs (`mbpp`, `humaneval`): rows, order, verdicts."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence

from etils import epath

from sweb_jax.answers import completions
from sweb_jax.records import Problem, Sample, Verdict
from sweb_jax.tasks import TaskError, data_files, splits, ungraded


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


def verdicts(
  pairs: Iterable[tuple[Problem, Sample]], read: Callable[[Problem, str], completions.Program], workers: int = 1
) -> Iterator[Verdict]:
  """Runs each program against its tests in the sandbox, in order, `workers` at a time; right where all tests pass.

  `read` makes a program of a problem and a completion. Reasons: 'right', 'truncated', 'no answer', 'could not be
  graded: ...', or status and reason of the sandbox's outcome. Raises sandbox.SandboxError where this machine cannot run
  programs safely.
  """

  def programs() -> Iterator[tuple[tuple[Sample, Exception | None], completions.Program | None]]:
    for problem, sample in pairs:
      program, fault = None, None
      try:
        program = read(problem, sample.text) if sample.finish != 'length' else None
      except Exception as e:  # One sample stops nothing, whatever is wrong with it or with the reader.
        fault = e
      yield (sample, fault), program

  for (sample, fault), program, outcome in completions.tried(programs(), workers):
    if fault is not None:
      yield ungraded(sample, fault)
    elif outcome is None:
      reason = 'truncated' if program is None else 'no answer'
      yield Verdict(sample.problem_id, sample.index, None, False, reason)
    else:
      right, reason = outcome.status == 'passed', completions.reason(outcome)
      yield Verdict(sample.problem_id, sample.index, program.code, right, reason)
