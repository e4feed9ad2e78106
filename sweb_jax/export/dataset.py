"""One data set, written, read back and put in its place with its card."""

from __future__ import annotations

import dataclasses

from etils import epath

from sweb_jax import tasks
from sweb_jax.export import card, formats, rows
from sweb_jax.export.rows import ExportError
from sweb_jax.runtime import files

CARD = 'README.md'


@dataclasses.dataclass(frozen=True)
class Exported:
  """What was written."""

  rows: int
  problems: int
  digest: str
  """SHA-256 of the rows, as they were written and as they were read back."""


def export(
  workdir: epath.PathLike,
  arm: str,
  form: str,
  to: epath.PathLike,
  *,
  question_set: int = 0,
  all_samples: bool = False,
  force: bool = False,
) -> Exported:
  """Writes an arm of a workdir as a data set with a card; nothing in the workdir is changed.

  Args:
    workdir: of a study whose stage grade is done for this arm.
    arm: its name.
    form: of `formats.FORMATS`.
    to: the folder; it appears when everything is written, read back and found equal.
    question_set: the question set.
    all_samples: all that was drawn for the arm, right and wrong, in place of what is trained on; pairs are of these.
    force: a folder that is there is replaced.

  Raises:
    ExportError: there is no such arm, or nothing of it, or the folder cannot be written.
    AnalysisError: there is no workdir, or a file of it is damaged.
    TaskError: the prompts of all samples need the data of the study, which are not there.
  """
  to = epath.Path(to)
  if files.on_object_store(to):
    raise ExportError(f'--to={to}: is no folder of this machine; write it here, and copy it there')
  if to.exists() and not force:
    raise ExportError(f'--to={to}: is there already; name a folder that is not, or give --force to replace it')
  if to.exists() and not ((to / CARD).exists() and card.MARK in (to / CARD).read_text()):
    raise ExportError(f'--to={to}: is no data set of this command, which alone --force replaces; name another folder')
  data = rows.open_data(workdir, arm, question_set)
  all_samples = all_samples or form == 'pairs'
  found = rows.samples(data, _task(data).prompt) if all_samples else rows.examples(data)
  shaped = formats.shaped(found, form)
  partial = to.parent / f'{to.name}.partial'
  files.remove(partial)
  try:
    partial.mkdir(parents=True)
    with files.full_disk_named(to):
      formats.write(partial, shaped, form)
    written = formats.digest(shaped, form)
    back = formats.read(partial, form)
    if (len(back), formats.digest(back, form)) != (len(shaped), written):
      raise ExportError(f'--to={to}: {len(shaped)} rows came back from it as {len(back)} others; it was not kept')
    files.write_text(partial / CARD, card.card(data, found, shaped, form, partial, all_samples))
    files.remove(to)
    partial.rename(to)
  finally:
    files.remove(partial)
  return Exported(len(shaped), len({row['problem_id'] for row in shaped}), written)


def _task(data: rows.Data) -> tasks.Task:
  """The task of the study, for prompts of problems of which no solution was kept. Raises TaskError."""
  return tasks.from_config(data.config['task'], data.config['data_dir'])
