"""The paper's question of Gemma 4, on GSM8K: E4B (WC) against 31B (SE), instruction-tuned, with E2B as student.

    python -m sweb_jax.main --config=configs/gemma4/gsm8k_e4b.py --config.data_dir=GSM8K_DIR --workdir=DIR \
      --config.models.wc=GEMMA4_E4B_IT --config.models.se=GEMMA4_31B_IT --config.models.student=GEMMA4_E2B_IT

As configs/gemma4/gsm8k.py, but for the models. A token of E4B has to do with 4.6 of 7.5 billion parameters, as its
tables by layer are only looked up; one sample of 31B pays for 7 of it.

Cost: 557,200 samples, 1.4e18 FLOPs to draw them, 9.6e19 in all, 6.0 hours by the plan. Not run.
"""

import pathlib
import runpy

from ml_collections import ConfigDict


def get_config() -> ConfigDict:
  config = runpy.run_path(str(pathlib.Path(__file__).with_name('gsm8k.py')))['get_config']()
  config.name += '_e4b'
  config.models.update({'wc': 'size:gemma4_e4b', 'student': 'size:gemma4_e2b'})
  return config
