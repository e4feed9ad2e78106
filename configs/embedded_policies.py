"""The embedded study under five ways to spend the same budget.

    python -m sweb_jax.main --config=configs/embedded_policies.py --workdir=DIR

Three question sets of the quickstart's size, one learner, one budget: what 10 SE samples a problem are charged. Every
policy spends it to within a tenth of a percent; docs/budgets.md has the table and says what the policies do.

Measured on 2 CPU cores that had other work: 254 s and 0.9 GB in all; sample 35 s, grade and allocate 57 s, train 105 s,
evaluate 38 s, report 9 s. Found (run once, seeds 4000 to 4002): share of problems solved .61 (SE uniform), .73 (WC
uniform), .73 (mixture), .75 (by difficulty), .83 (cascade), .90 (until solved).
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
