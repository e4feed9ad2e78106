"""Compiles steps of Gemma 7B and Gemma 2 9B and 27B, two layers at full width, for TPU slices; prints what it found.

And those of `configs/quickstart.py` for two slices; of one of the `HALVES`, which can be compiled side by side.

Run by a test. What was compiled once is kept (`sweb_jax.lowering.compiling.CACHE`).
"""

from __future__ import annotations

import dataclasses
import json
import os
import runpy
import sys
from collections.abc import Collection
from typing import Any

os.environ |= {'JAX_PLATFORMS': 'cpu', 'TF_CPP_MIN_LOG_LEVEL': '3'}
os.environ.pop('JAX_COMPILATION_CACHE_DIR', None)

from ml_collections import ConfigDict

from sweb_jax import config as config_lib
from sweb_jax.lowering import compiling, slices, times
from sweb_jax.lowering.steps import steps

LAYERS = 2
CASES = {
  'v5e-64': (('wc', 'prefill'), ('se', 'decode'), ('student', 'train')),
  'v6e-64': (('wc', 'prefill'), ('se', 'decode')),
  'v5p-64': (('wc', 'prefill'), ('se', 'decode')),
}
"""Slice -> (model, step) of configs/paper/math.py: student is Gemma 7B, wc Gemma 2 9B, se 27B."""


def one_slice() -> dict[str, Any]:
  config, found = load('configs/paper/math.py'), {}
  for name, wanted in CASES.items():
    if name == 'v5p-64':  # There parts of a slice draw, with training's `tensor`, which is to divide 8 KV heads.
      config.mesh.tensor = 8
    config.mesh.fsdp = len(slices.devices(name)) // config.mesh.tensor
    found |= {f'{name} {step}': x for step, x in compiled(config, name, wanted).items()}
  return found


def others() -> dict[str, Any]:
  """For two slices, and without kernels."""
  config, found = load('configs/quickstart.py'), {}
  config.mesh.data = -1
  for together, wanted in ((0, (('wc', 'prefill'), ('student', 'train'))), (1, (('student', 'train'),))):
    config.train.side_by_side = together
    steps_of_two = compiled(config, '2xv5e-16', wanted)
    found |= {f'two slices, {"by itself" if together else "as chosen"}: {step}': x for step, x in steps_of_two.items()}
  config, name = load('configs/paper/math.py'), 'v5e-64'
  config.mesh.fsdp = len(slices.devices(name)) // config.mesh.tensor
  config.engine.kernels = False
  without = compiled(config, name, (('se', 'decode'),))
  return found | {f'{name}, no kernels: {step}': x for step, x in without.items()}


HALVES = {half.__name__: half for half in (one_slice, others)}


def load(path: str) -> ConfigDict:
  config = config_lib.resolve(runpy.run_path(path)['get_config'](), ())
  config_lib.validate(config)
  return config


def compiled(config: ConfigDict, name: str, wanted: Collection[tuple[str, str]]) -> dict[str, dict[str, Any]]:
  """'model step' -> what the compiler says of it."""
  chip, found = slices.chip(name), {}
  for step in steps(config, chip.memory, devices=slices.devices(name)):
    if (step.model, step.name) in wanted:
      x = compiling.compiled(step, LAYERS, slices.compiler())
      print(f'{name} {step.model} {step.name}: compiled in {x.seconds:.0f} s', file=sys.stderr)
      messages = times.by_axes(x.messages, step.mesh)
      found[f'{step.model} {step.name}'] = {
        'mesh': step.mesh.shape,
        'fits': x.peak < chip.memory,
        'logits': x.logits,
        'messages': {f'{kind} {" ".join(axes)}': n / step.loops for (kind, axes), (n, _) in messages.items()},
        'bytes': {f'{kind} {" ".join(axes)}': n / step.loops for (kind, axes), (_, n) in messages.items()},
        'kernels': x.kernel_bytes,
        'times': dataclasses.asdict(times.times(step, x, chip)),
      }
  return found


if __name__ == '__main__':
  print(json.dumps(HALVES[sys.argv[1]]()))
