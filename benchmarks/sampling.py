"""Draws a workload of token ids with the engine and writes what it took.

    python benchmarks/sampling.py --model=DIR --workload=FILE.json --out=FILE.json

`--model` is a Hugging Face directory (config.json, safetensors) or a model folder of this project (config.json,
`params/` in Orbax). The workload is JSON: `prompts` (lists of ids), `n`, `max_new`, `temperature`, `top_k`, `stop_ids`,
and optionally `lengths` (one a row, problem by problem; then nothing else ends a row) and `shared_prefix` (leading ids
that all prompts share; found when absent). `benchmarks/workloads.py` makes some.

The file written: `useful_tokens` (drawn, up to each row's end), `seconds` (of a run with everything compiled),
`load_seconds`, `compile_seconds`, `first_sample_seconds` (from the start of the process to the first finished sample,
compilation included), `peak_rss_mb`, `device`, `dtype`.
"""

from __future__ import annotations

import json
import os
import resource
import sys
import time

BEGUN = time.monotonic()
os.environ.setdefault('TF_CPP_MIN_LOG_LEVEL', '3')

import jax  # noqa: E402
from absl import app, flags  # noqa: E402
from etils import epath  # noqa: E402

from sweb_jax.models import decoder, families, sharding  # noqa: E402
from sweb_jax.models.source import read_config, read_params  # noqa: E402
from sweb_jax.runtime import devices  # noqa: E402
from sweb_jax.sampling import Engine, Request, Rule  # noqa: E402

MODEL = flags.DEFINE_string('model', None, 'Model directory.', required=True)
WORKLOAD = flags.DEFINE_string('workload', None, 'Workload file.', required=True)
OUT = flags.DEFINE_string('out', None, 'File to write.', required=True)
IMPLEMENTATION = flags.DEFINE_enum('implementation', 'native', decoder.IMPLEMENTATIONS, 'What computes the model.')
DTYPE = flags.DEFINE_enum('dtype', 'float32', ['float32', 'bfloat16'], 'Of parameters and caches.')
SLOTS = flags.DEFINE_integer('slots', 0, 'Rows decoded together; 0: chosen.')
STEPS = flags.DEFINE_integer('steps', 16, 'Tokens between two refills.')
ROUNDS = flags.DEFINE_integer('rounds', 1, 'Timed runs; `seconds` is their median.')
CACHE = flags.DEFINE_string('compilation_cache', None, "Folder of JAX's persistent compilation cache.")


def main(_) -> None:
  try:
    measure()
  except (ValueError, OSError) as e:
    sys.exit(f'Error: {e}')


def measure() -> None:
  if CACHE.value:
    devices.prepare(CACHE.value)
  compiling = 0.0

  def note(event: str, seconds: float, **_) -> None:
    nonlocal compiling
    if event.startswith('/jax/core/compile/'):
      compiling += seconds

  jax.monitoring.register_event_duration_secs_listener(note)
  work = read_workload()
  mesh = sharding.make_mesh()
  begun = time.monotonic()
  config = read_config(MODEL.value)
  params = read_params(MODEL.value, config, mesh, DTYPE.value)
  jax.block_until_ready(params)
  loaded = time.monotonic() - begun

  prefix, requests = to_requests(work)
  engine = Engine(
    families.implement(config, IMPLEMENTATION.value),
    mesh,
    Rule(work['temperature'], work['top_k'] if work['temperature'] else 0),
    stop_ids=[] if 'lengths' in work else work['stop_ids'],
    prompt_length=max(len(r.prompt) for r in requests),
    max_new_tokens=max(work.get('lengths', [work['max_new']])),
    prefix=prefix,
    slots=SLOTS.value,
    steps=STEPS.value,
  )
  first = None
  for _ in engine.run(params, requests, key=jax.random.key(1)):  # Compiles all there is to compile.
    first = first or time.monotonic() - BEGUN
  seconds = []
  for i in range(ROUNDS.value):
    begun = time.monotonic()
    useful = sum(len(c.tokens) for c in engine.run(params, requests, key=jax.random.key(2 + i)))
    seconds.append(time.monotonic() - begun)
  result = {
    'useful_tokens': useful,
    'seconds': round(sorted(seconds)[len(seconds) // 2], 3),
    'load_seconds': round(loaded, 3),
    'compile_seconds': round(compiling, 3),
    'first_sample_seconds': round(first, 3),
    'peak_rss_mb': resource.getrusage(resource.RUSAGE_SELF).ru_maxrss // 1024,
    'device': jax.devices()[0].device_kind,
    'dtype': DTYPE.value,
  }
  epath.Path(OUT.value).write_text(json.dumps(result, indent=2) + '\n')
  print(json.dumps(result))


def read_workload() -> dict:
  """The workload. Raises ValueError for a field that is missing or makes no sense."""
  where = f'--workload={WORKLOAD.value}'
  try:
    work = json.loads(epath.Path(WORKLOAD.value).read_text())
  except ValueError as e:
    raise ValueError(f'{where}: not JSON: {e}') from e
  if missing := {'prompts', 'n', 'max_new', 'temperature', 'top_k', 'stop_ids'} - work.keys():
    raise ValueError(f'{where}: {", ".join(sorted(missing))} must be given')
  if work['n'] < 1 or not work['prompts']:
    raise ValueError(f'{where}: n={work["n"]} samples of {len(work["prompts"])} prompts are nothing to draw')
  rows = work['n'] * len(work['prompts'])
  if 'lengths' in work and len(work['lengths']) != rows:
    raise ValueError(f'{where}: {len(work["lengths"])} lengths for {rows} rows')
  return work


def to_requests(work) -> tuple[list[int], list[Request]]:
  """The shared prefix, and a request a sample."""
  prompts, n = work['prompts'], work['n']
  shared = work.get('shared_prefix')
  if shared is None:
    # At least one id stays with each prompt: the engine feeds it to the first decode step.
    columns = enumerate(zip(*prompts, strict=False))
    shared = next((i for i, ids in columns if len(set(ids)) > 1), max(0, min(map(len, prompts)) - 1))
  limits = iter(work.get('lengths', [work['max_new']] * (n * len(prompts))))
  requests = [
    Request(f'p{i}', j, tuple(p[shared:]), next(limits)) for i, p in enumerate(prompts) for j in range(n)
  ]
  return prompts[0][:shared], requests


if __name__ == '__main__':
  app.run(main)
