"""Runs the tiny study of conftest.py, as large as a file beside the workdir says. Forked again and again by a test."""

from __future__ import annotations

import importlib.util
import io
from pathlib import Path

import jax  # noqa: F401 (imported once, before the forks)
from etils import epath
from rich.console import Console

from sweb_jax.runtime.hosts import Hosts
from sweb_jax.study import command, opened
from sweb_jax.study.step import STAGES

SIZES = (
  {'question_sets': 1},
  {'budgets': {'low': {'se': 1}, 'high': {'se': 4}}, 'task__test': 20},
  {
    'budgets': {'low': {'se': 1}, 'high': {'se': 4}}, 'task__test': 20, 'train__learning_rates': (1e-3, 2.5e-3),
    'gold': True, 'evaluate__maj_k': (2,),
  },
)  # fmt: skip


def tiny():
  spec = importlib.util.spec_from_file_location('tiny_study', Path(__file__).with_name('conftest.py'))
  module = importlib.util.module_from_spec(spec)
  spec.loader.exec_module(module)
  return module.tiny


def main(folder: epath.Path) -> None:
  size = int((folder.parent / 'size').read_text())
  config = tiny()(**SIZES[size], train__save_seconds=0.001)
  study = opened.open_study(config)
  print('begun', flush=True)
  command.run(study, folder, Hosts(), STAGES, Console(file=io.StringIO()))
