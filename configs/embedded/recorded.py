"""Samples of one embedded model taken in from files, as if they were an API's: the tables are those of drawn ones.

    python -m sweb_jax.main --config=configs/embedded/recorded.py --workdir=runs/drawn
    python -m sweb_jax.main --config=configs/embedded/recorded.py --config.preset=taken --workdir=DIR

The first command draws; its samples lie in runs/drawn/samples/set0/wc as JSON lines, which is one of the forms that
can be taken in, so nothing has to be exported. The second draws SE's and takes WC's from there, or from another
workdir with --config.models.wc=samples:RUN/samples/set0/wc/chunk-*.jsonl. Every table of the report is the same to
the digit.

Measured on 2 CPU cores beside much other work: 394 s and 0.9 GB to draw, 241 s and 0.8 GB with WC's samples taken in.
Found (run once, seed 5900; the student on 340 test problems): the 12 tables are the same bytes both times; WC data
minus SE data +.015 [-.041, +.071], coverage .393 against .200.
"""

import pathlib
import runpy

from ml_collections import ConfigDict


def get_config() -> ConfigDict:
  grid = pathlib.Path(__file__).with_name('grid.py')
  config = runpy.run_path(str(grid))['get_config']()
  config.name = 'embedded_recorded'
  config.seed = 5900
  config.question_sets = 1
  config.learners = ('student',)
  config.policies = {}
  config.budgets = {'low': {'se': 1}}
  config.gold = False
  config.train.steps = {'low': 25}
  config.train.seeds = 1
  config.preset = 'drawn'
  config.presets = {
    'drawn': (),
    'taken': (
      ('models.wc', 'samples:runs/drawn/samples/set0/wc/chunk-*.jsonl'),
      ('recorded.wc', {'tokenizer': 'embedded:wc', 'parameters': 'embedded:wc'}),
    ),
  }
  return config
