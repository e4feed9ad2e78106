"""Three rounds of self-improvement: what a learner was trained to do, it draws its next data with.

    python -m sweb_jax.main --config=configs/embedded/rounds.py --workdir=DIR

Three question sets of the quickstart's size. In round 1 every learner is trained on what WC draws (10 samples a
problem); in rounds 2 and 3 each learner draws 10 samples a problem for itself with what it became, and is trained again
from its start on what is right of them. docs/rounds.md has the rules.

Measured: 186 s and 1.1 GB beside other work. Found (run once, seeds 9000 to 9002): greedy accuracy of the student .24,
.41, .50 and .53 by round (0 to 3), coverage@10 of what is drawn .56, .76 and .82. Intervals are in docs/rounds.md.
"""

import pathlib
import runpy

from ml_collections import ConfigDict


def get_config() -> ConfigDict:
  config = runpy.run_path(str(pathlib.Path(__file__).parents[1] / 'quickstart.py'))['get_config']()
  config.name = 'embedded_rounds'
  config.seed = 9000  # Question sets of its own.
  config.learners = ('student', 'wc')
  config.generators = ('wc',)
  config.budgets = {'high': {'wc': 10}}
  config.number_matched = False
  config.gold = False
  config.rounds = 3
  config.round.arm = 'wc_high'
  config.train.steps = {'high': 60}
  config.train.learning_rates = (2.5e-3,)
  config.evaluate.maj_k = ()
  return config
