"""The embedded study, as small as it gets and with every kind of step that several processes share in."""

from __future__ import annotations

import pathlib
import runpy

from ml_collections import ConfigDict

QUICKSTART = pathlib.Path(__file__).parents[2] / 'configs/quickstart.py'


def get_config() -> ConfigDict:
  config = runpy.run_path(str(QUICKSTART))['get_config']()
  config.question_sets = 1
  config.task.update({'train': 30, 'validation': 8, 'test': 12})
  config.learners = ('wc',)
  config.budgets = ConfigDict({'low': {'se': 1}})
  config.policies = ConfigDict({'until_solved': {'kind': 'until_solved', 'generators': ('wc',)}})
  config.number_matched = False
  config.gold = False
  config.train.update(
    {'batch': 8, 'steps': ConfigDict({'low': 2}), 'learning_rates': (2.5e-3,), 'checkpoints': 2, 'save_seconds': 0.001}
  )
  config.evaluate.maj_k = ()
  config.mesh.data = -1
  config.engine.update({'slots': 16, 'jobs': 1})
  return config
