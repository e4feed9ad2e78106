"""Lowers the steps of every config of configs/paper for 64 simulated devices; prints bytes a device. Run by a test.

Nothing is compiled or allocated. A short model is lowered; the bytes are those of all layers.
"""

from __future__ import annotations

import json
import os
import runpy
from pathlib import Path

os.environ |= {'XLA_FLAGS': '--xla_force_host_platform_device_count=64', 'TF_CPP_MIN_LOG_LEVEL': '3'}

from ml_collections import ConfigDict

from sweb_jax import config as config_lib
from sweb_jax.lowering.steps import Step, samples, steps


def seen(config: ConfigDict, step: Step) -> str:
  """What a step may depend on: steps of several configs that have it in common are lowered once."""
  sections = {k: config[k].to_dict() for k in ('sampling', 'train', 'mesh', 'estimate', 'engine')}
  del sections['estimate']['completion_tokens']  # Completions are as long as they may become.
  if step.name == 'train':  # How often, and on how much data, is not the step's.
    del sections['engine'], sections['train']['steps'], sections['estimate']['few_shot_tokens']
  else:
    del sections['train']
    sections['requests'] = config.task.train, samples(config)
  return json.dumps([step.model, config.models[step.model], step.name, sections], sort_keys=True)


def main() -> None:
  found: dict[str, dict[str, float]] = {}
  known: dict[str, float] = {}
  for path in sorted(Path('configs/paper').glob('*.py')):
    config = config_lib.resolve(runpy.run_path(str(path))['get_config'](), ())
    config_lib.validate(config)
    found[path.stem] = {}
    for step in steps(config, 16e9):
      if (key := seen(config, step)) not in known:
        step.lower(4 if step.name == 'train' else 2)  # Training loops over the layers from four on.
        known[key] = step.state(step.layers)[1]
      found[path.stem][f'{step.model} {step.name}'] = known[key]
  print(json.dumps(found))


if __name__ == '__main__':
  main()
