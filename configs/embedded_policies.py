"""The embedded study under five ways to spend the same budget.

    python -m sweb_jax.main --config=configs/embedded_policies.py --workdir=DIR
"""

import pathlib
import runpy

from ml_collections import ConfigDict


def get_config() -> ConfigDict:
  config = runpy.run_path(str(pathlib.Path(__file__).with_name('quickstart.py')))['get_config']()
  config.name = 'embedded_policies'
  config.seed = 4000  # Question sets of its own.
  config.learners = ('student',)
  config.budgets = {'high': {'se': 10}}
  config.number_matched = False
  config.gold = False
  config.cost.exact_ratio = True
  config.policies = {
    'uniform': {'kind': 'uniform'},
    'until_solved': {'kind': 'until_solved', 'generators': ('wc',)},
    'by_difficulty': {'kind': 'by_difficulty', 'generators': ('wc',)},
    'cascade': {'kind': 'cascade', 'generators': ('wc', 'se'), 'first': 10},
    'mixture': {'kind': 'mixture', 'shares': {'se': 0.5, 'wc': 0.5}},
  }
  config.train.steps = {'high': 60}
  return config
