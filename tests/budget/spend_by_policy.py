"""Draws a generator's samples, and an arm's by a policy, as a study does. Run, and killed, by a test:
`python spend_by_policy.py WORKDIR`."""

from __future__ import annotations

import runpy
import sys

from etils import epath
from rich.console import Console

from sweb_jax.runtime import devices
from sweb_jax.runtime.hosts import Hosts
from sweb_jax.sampling import store
from sweb_jax.study import command
from sweb_jax.study.opened import open_study

CONFIG = epath.Path(__file__).parents[2] / 'configs/embedded_policies.py'


def main(workdir: epath.Path) -> None:
  devices.prepare(workdir.parent)
  store._CHUNK_SAMPLES = 16
  config = runpy.run_path(str(CONFIG))['get_config']()
  config.question_sets = 1
  config.task.update({'train': 40, 'validation': 10, 'test': 10})
  config.budgets = {'high': {'se': 4}}
  config.engine.update({'slots': 16, 'steps': 4, 'jobs': 1})
  config.policies = {'until_solved': {'kind': 'until_solved', 'generators': ('wc',)}}
  study = open_study(config)
  print('ready', flush=True)
  command.run(study, workdir, Hosts(), ['plan', 'sample', 'grade'], Console(stderr=True))


if __name__ == '__main__':
  main(epath.Path(sys.argv[1]))
