"""Writes the data of an arm for other trainers.

    python -m sweb_jax.export WORKDIR --arm=wc_high --format=messages --to=FOLDER
    python -m sweb_jax.export WORKDIR --arm=wc_high --format=pairs --to=FOLDER

FOLDER gets the rows and README.md, the card that says where they come from: what the arm's models are trained on, with
--all_samples all that was drawn for it, right and wrong, as pairs right and wrong side by side. docs/export.md has the
columns, and how TRL, MaxText and Tunix read them.
"""

from __future__ import annotations

import sys

from absl import app, flags, logging

from sweb_jax import export
from sweb_jax.runtime import terminal

_ARM = flags.DEFINE_string('arm', None, "Name of the arm, as the report has it: 'wc_high', 'gold'.")
_FORMAT = flags.DEFINE_enum('format', None, export.FORMATS, 'Form of the rows.')
_TO = flags.DEFINE_string('to', None, 'Folder to write.')
_SET = flags.DEFINE_integer('set', 0, 'Question set.')
_ALL_SAMPLES = flags.DEFINE_bool('all_samples', False, 'All graded samples of the arm, and not only what it keeps.')
_FORCE = flags.DEFINE_bool('force', False, 'Replace the folder, if it is there.')


def main(argv: list[str]) -> None:
  logging.set_verbosity(logging.ERROR)  # TFDS tells of every file.
  for flag in (_ARM, _FORMAT, _TO):
    if flag.value is None:
      raise app.UsageError(f'--{flag.name} is needed')
  if len(argv) != 2:
    raise app.UsageError('give one WORKDIR, and flags')
  try:
    found = export.export(
      argv[1], _ARM.value, _FORMAT.value, _TO.value,
      question_set=_SET.value, all_samples=_ALL_SAMPLES.value, force=_FORCE.value,
    )  # fmt: skip
  except (ValueError, OSError) as e:
    print(f'Error: {e}', file=sys.stderr)
    sys.exit(1)
  print(f'{_TO.value}: {found.rows} rows of {found.problems} problems, read back and equal; sha256 {found.digest}')


if __name__ == '__main__':
  terminal.start(main)
