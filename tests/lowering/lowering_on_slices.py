"""Compiles steps of Gemma 7B and Gemma 2 9B and 27B, two layers at full width, for TPU slices; prints what it found.

Run by a test. What was compiled once is kept (`sweb_jax.lowering.compiling.CACHE`).
"""

from __future__ import annotations

import dataclasses
import json
import os
import runpy
import sys

os.environ |= {'JAX_PLATFORMS': 'cpu', 'TF_CPP_MIN_LOG_LEVEL': '3'}
os.environ.pop('JAX_COMPILATION_CACHE_DIR', None)

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


def main() -> None:
  config = config_lib.resolve(runpy.run_path('configs/paper/math.py')['get_config'](), ())
  config_lib.validate(config)
  version, found = slices.compiler(), {}
  for name, wanted in CASES.items():
    chip, devices = slices.chip(name), slices.devices(name)
    if name == 'v5p-64':  # There parts of a slice draw, with training's `tensor`, which is to divide 8 KV heads.
      config.mesh.tensor = 8
    config.mesh.fsdp = len(devices) // config.mesh.tensor
    for step in steps(config, chip.memory, devices=devices):
      if (step.model, step.name) in wanted:
        x = compiling.compiled(step, LAYERS, version)
        print(f'{name} {step.model} {step.name}: compiled in {x.seconds:.0f} s', file=sys.stderr)
        messages = times.by_axes(x.messages, step.mesh)
        found[f'{name} {step.model} {step.name}'] = {
          'mesh': step.mesh.shape,
          'fits': x.peak < chip.memory,
          'logits': x.logits,
          'messages': {f'{kind} {" ".join(axes)}': n / step.loops for (kind, axes), (n, _) in messages.items()},
          'times': dataclasses.asdict(times.times(step, x, chip)),
        }
  print(json.dumps(found))


if __name__ == '__main__':
  main()
