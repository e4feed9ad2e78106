"""The paper's question of Gemma 4, on MATH: 26B-A4B (WC) against 31B (SE), instruction-tuned, with E4B as student.

    python -m sweb_jax.main --config=configs/gemma4/math.py --config.data_dir=MATH_DIR --workdir=DIR \
      --config.models.wc=GEMMA4_26B_A4B_IT --config.models.se=GEMMA4_31B_IT --config.models.student=GEMMA4_E4B_IT

As configs/paper/math.py, presets and all, but for the models, which read and write chat turns and are computed by the
gemma library (Python 3.12, docs/models.md). Without weights `--dry_run` prints the plan, on any Python.
configs/gemma4/math_e4b.py has E4B for WC.

The experts that a token does not choose cost nothing: a token of 26B-A4B has to do with 3.8 of 25.2 billion
parameters, and one sample of 31B pays for 8 of it. By memory it is no small model: all experts must be held.

Cost: 629,460 samples, 2.6e18 FLOPs to draw them, 1.8e20 in all, 10.9 hours by the plan. Not run.
"""

import pathlib
import runpy

from ml_collections import ConfigDict


def get_config() -> ConfigDict:
  paper = pathlib.Path(__file__).parents[1] / 'paper/math.py'
  return with_gemma4(runpy.run_path(str(paper))['get_config']())


def with_gemma4(config: ConfigDict) -> ConfigDict:
  """One of the paper's configs, with Gemma 4."""
  config.name = config.name.replace('paper', 'gemma4')
  config.models = {'wc': 'size:gemma4_26b_a4b', 'se': 'size:gemma4_31b', 'student': 'size:gemma4_e4b'}
  config.chat = ('wc', 'se', 'student')
  # As the update of 31B was compiled (docs/pods.md).
  config.train.update({'micro_batches': 2, 'remat': 'full'})
  config.mesh.update({'fsdp': 8, 'tensor': 8})
  config.train.tensor = {}
  return config
