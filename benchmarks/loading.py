"""Measures the host memory that loading a model takes beyond the model itself, on simulated devices.

    python benchmarks/loading.py make --folder=DIR [--size=gemma2_2b]
    python benchmarks/loading.py load --folder=DIR --form=hf|orbax

`make` writes a random bfloat16 model of a named size to DIR/hf and DIR/orbax. `load` reads one onto 8 CPU devices
(fsdp 4 x tensor 2) and prints one line of JSON: `weights_mb`, `largest_mb` (largest parameter), `peak_mb` and
`before_mb` (resident memory, at its peak and before) and `extra_mb` = peak - before - weights. On CPU devices the
weights themselves are host memory, so `extra_mb` is what a host with accelerators would need.
"""

from __future__ import annotations

import json
import os
import resource
import sys

os.environ.setdefault('TF_CPP_MIN_LOG_LEVEL', '3')

import jax

jax.config.update('jax_platforms', 'cpu')
jax.config.update('jax_num_cpu_devices', 8)

import ml_dtypes  # noqa: E402
import numpy as np  # noqa: E402
from absl import app, flags  # noqa: E402
from etils import epath  # noqa: E402

from sweb_jax.models import checkpoint, huggingface, sharding  # noqa: E402
from sweb_jax.models.gemma import transformer  # noqa: E402
from sweb_jax.models.gemma.config import SIZES  # noqa: E402
from sweb_jax.models.source import open_model  # noqa: E402

FOLDER = flags.DEFINE_string('folder', None, 'Where the model is.', required=True)
SIZE = flags.DEFINE_enum('size', 'gemma2_2b', sorted(SIZES), 'Named size.')
FORM = flags.DEFINE_enum('form', 'hf', ('hf', 'orbax'), 'Which of the two to load.')


def main(argv: list[str]) -> None:
  match argv[1:]:
    case ['make']:
      make()
    case ['load']:
      load()
    case _:
      raise app.UsageError('give `make` or `load`')


def make() -> None:
  folder, config = epath.Path(FOLDER.value), SIZES[SIZE.value]
  rng = np.random.default_rng(0)

  def one(shape):
    # One random row, repeated: what is measured does not depend on the values.
    row = rng.standard_normal(shape.shape[-1], np.float32) * 0.02
    return jax.numpy.asarray(np.broadcast_to(row.astype(ml_dtypes.bfloat16), shape.shape))

  params = jax.tree.map(one, transformer.shapes(config))
  huggingface.save(folder / 'hf', config, params, open_model('embedded:wc').tokenizer)
  checkpoint.save(folder / 'orbax', params)


def load() -> None:
  folder, config = epath.Path(FOLDER.value) / FORM.value, SIZES[SIZE.value]
  mesh = sharding.make_mesh(fsdp=4, tensor=2)
  shapes = jax.tree.leaves(transformer.shapes(config, ml_dtypes.bfloat16))
  before = peak_mb()
  read = huggingface.load if FORM.value == 'hf' else checkpoint.load
  params = jax.block_until_ready(read(folder, config, mesh, None))
  peak = peak_mb()
  weights = sum(s.data.nbytes for x in jax.tree.leaves(params) for s in x.addressable_shards) / 1e6
  largest = max(x.size * x.dtype.itemsize for x in shapes) / 1e6
  found = {'form': FORM.value, 'weights_mb': weights, 'largest_mb': largest, 'before_mb': before, 'peak_mb': peak}
  print(json.dumps({k: v if isinstance(v, str) else round(v) for k, v in found.items()} | {
    'extra_mb': round(peak - before - weights)
  }))  # fmt: skip


def peak_mb() -> float:
  peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
  return peak / (1e6 if sys.platform == 'darwin' else 1e6 / 1024)


if __name__ == '__main__':
  app.run(main)
