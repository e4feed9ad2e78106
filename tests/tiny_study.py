"""A study of a few seconds, run in this process."""

from __future__ import annotations

import hashlib
import io
import runpy
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from etils import epath
from ml_collections import ConfigDict
from rich.console import Console

from sweb_jax import config as config_lib
from sweb_jax import layout
from sweb_jax.runtime.hosts import Hosts
from sweb_jax.study import STAGES, command, opened

ROOT = Path(__file__).parents[1]

_OF_NO_STEP = (layout.COMPILED, layout.CURVES, layout.LENGTHS, layout.PROGRESS, layout.REPORT, layout.SUPERSEDED)


def tiny(**changes: Any) -> ConfigDict:
  """The quickstart at a few problems; `changes` are fields with '__' for '.'."""
  config = runpy.run_path(str(ROOT / 'configs/quickstart.py'))['get_config']()
  config.name, config.seed, config.question_sets = 'tiny', 0, 1
  config.task.update({'train': 12, 'validation': 8, 'test': 10})
  config.budgets = {'low': {'se': 1}}
  config.learners = ('wc',)
  config.number_matched = config.gold = False
  config.train.update({'batch': 4, 'steps': {'low': 2, 'high': 2, 'gold': 2}, 'checkpoints': 1, 'row_length': 48})
  config.train.learning_rates = (2.5e-3,)
  config.evaluate.maj_k = ()
  config.engine.update({'slots': 16, 'jobs': 1})
  config = config.unlock() or config
  for name, value in changes.items():
    section, _, last = name.replace('__', '.').rpartition('.')
    target = config
    for part in filter(None, section.split('.')):
      target = target[part]
    target[last] = value
  config_lib.validate(config)
  return config


class Runs:
  """Runs studies in workdirs, and looks at what they leave."""

  tiny = staticmethod(tiny)

  def __call__(
    self, root: Path, config: ConfigDict, stages: tuple[str, ...] = STAGES, **kwargs: Any
  ) -> str:
    """Runs a study as the command does; returns what it prints."""
    said = io.StringIO()
    console = Console(file=said, width=200)
    study = opened.open_study(config)
    lengths = command.plan(study, epath.Path(root), console)
    command.run(study, epath.Path(root), Hosts(), stages, console, lengths=lengths, **kwargs)
    return said.getvalue()

  def listing(self, root: Path) -> dict[str, str]:
    """Every file below a workdir that a step has drawn, trained or written, with the hash of its bytes."""
    return {
      str(p.relative_to(root)): hashlib.sha256(p.read_bytes()).hexdigest()
      for p in sorted(root.rglob('*'))
      if p.is_file() and p.relative_to(root).parts[0] not in _OF_NO_STEP
    }

  def results(self, root: Path) -> dict[str, str]:
    """`listing` without what says how it was made."""
    words = (layout.MANIFEST, layout.CONFIG, layout.STUDY, layout.LOCK)
    return {n: h for n, h in self.listing(root).items() if n.rpartition('/')[2] not in words}

  def tables(self, root: Path) -> Mapping[str, bytes]:
    """The tables of a report, but for that of the ledgers, which know how often prompts were read."""
    return {p.name: p.read_bytes() for p in (root / layout.TABLES).iterdir() if p.stem != 'charged'}
