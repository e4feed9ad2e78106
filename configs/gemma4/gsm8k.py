"""The paper's question of Gemma 4, on GSM8K: 26B-A4B (WC) against 31B (SE), instruction-tuned, with E4B as student.

    python -m sweb_jax.main --config=configs/gemma4/gsm8k.py --config.data_dir=GSM8K_DIR --workdir=DIR \
      --config.models.wc=GEMMA4_26B_A4B_IT --config.models.se=GEMMA4_31B_IT --config.models.student=GEMMA4_E4B_IT

As configs/paper/gsm8k.py, with the models of configs/gemma4/math.py. configs/gemma4/gsm8k_e4b.py has E4B for WC.

Cost: 626,850 samples, 1.3e18 FLOPs to draw them, 1.0e20 in all, 6.2 hours by the plan. Not run.
"""

import pathlib
import runpy

from ml_collections import ConfigDict


def get_config() -> ConfigDict:
  here = pathlib.Path(__file__)
  paper = runpy.run_path(str(here.parents[1] / 'paper/gsm8k.py'))['get_config']()
  return runpy.run_path(str(here.with_name('math.py')))['with_gemma4'](paper)
