"""Lowers short forms of Gemma 2 9B and 27B for 64 and 256 simulated devices; prints what it found. Run by a test."""

from __future__ import annotations

import dataclasses
import json
import os

os.environ |= {
  'XLA_FLAGS': f'{os.environ.get("XLA_FLAGS", "")} --xla_force_host_platform_device_count=256',
  'TF_CPP_MIN_LOG_LEVEL': '1',
}
os.environ.pop('JAX_COMPILATION_CACHE_DIR', None)

import jax

from sweb_jax.config import default
from sweb_jax.lowering import compiling
from sweb_jax.lowering.steps import steps

CASES = {
  '9b train 64': ('size:gemma2_9b', 'train', {'fsdp': 16, 'tensor': 4}),
  '27b train 256': ('size:gemma2_27b', 'train', {'fsdp': 32, 'tensor': 8}),
  '9b decode 64': ('size:gemma2_9b', 'decode', {'data': 16, 'tensor': 4}),
  '27b decode 256': ('size:gemma2_27b', 'decode', {'data': 32, 'tensor': 8}),
  '27b prefill 64': ('size:gemma2_27b', 'prefill', {'fsdp': 8, 'tensor': 8}),
}


def main() -> None:
  found = {}
  for name, (model, step, mesh) in CASES.items():
    config = default()
    config.models, config.budgets = {'m': model}, {'all': {'m': 10}}
    config.generators = config.learners = ('m',)
    config.task.train = 7000
    config.sampling.update({'max_new_tokens': 384, 'dtype': 'bfloat16', 'few_shot': True, 'top_k': 3})
    config.train.update({'batch': 256, 'row_length': 512, 'remat': 'full', 'dtype': 'bfloat16'})
    config.estimate.update({'prompt_tokens': 128, 'few_shot_tokens': 600})
    config.mesh.update(mesh)
    config.engine.slots = 32 * mesh['data'] if step == 'decode' else 0
    (wanted,) = (s for s in steps(config, 16e9) if s.name == step)
    x = compiling.compiled(wanted, 4 if step == 'train' else 2)
    found[name] = dataclasses.asdict(x) | {'peak': x.peak}
  print(json.dumps({'devices': len(jax.devices()), 'found': found}))


if __name__ == '__main__':
  main()
