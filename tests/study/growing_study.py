"""Runs the study of tiny_study.py, as large as a file beside the workdir says. Run, and killed, by a
test: `python growing_study.py WORKDIR`."""

from __future__ import annotations

import io
import runpy
import sys
from pathlib import Path

from etils import epath
from rich.console import Console

from sweb_jax.runtime.hosts import Hosts
from sweb_jax.study import STAGES, command, opened

SIZES = (
  {'question_sets': 1},
  {'budgets': {'low': {'se': 1}, 'high': {'se': 4}}, 'task__test': 20},
  {
    'budgets': {'low': {'se': 1}, 'high': {'se': 4}}, 'task__test': 20, 'train__learning_rates': (1e-3, 2.5e-3),
    'gold': True, 'evaluate__maj_k': (2,),
  },
)  # fmt: skip


def main(folder: epath.Path) -> None:
  size = int((folder.parent / 'size').read_text())
  tiny = runpy.run_path(str(Path(__file__).parents[1] / 'tiny_study.py'))['tiny']
  config = tiny(**SIZES[size], train__save_seconds=0.001)
  study = opened.open_study(config)
  print('begun', flush=True)
  command.run(study, folder, Hosts(), STAGES, Console(file=io.StringIO()))


if __name__ == '__main__':
  main(epath.Path(sys.argv[1]))
