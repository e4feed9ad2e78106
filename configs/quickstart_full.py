"""The embedded study with six question sets over three pre-training seeds.

    for seed in 1 2; do
      python -m sweb_jax.pretrain --config=configs/quickstart_pretrain.py --config.seed=$seed --workdir=PRETRAINED/$seed
    done
    python -m sweb_jax.main --config=configs/quickstart_full.py:PRETRAINED --workdir=DIR

Pre-training takes about 4 minutes a seed on 2 CPU cores. Measured there while the machine had other work, compilation
included: 1,447 s and 1.2 GB in all; plan 3 s, sample 25 s, grade 4 s, train 542 s, evaluate 700 s, report 45 s.

Found (run once, on seeds 3000 to 3005): WC data ahead in all six cells at equal compute by .016 to .068, four of them
decided; at equal numbers SE data ahead or level.
"""

import pathlib
import runpy

from ml_collections import ConfigDict


def get_config(pretrained: str = 'PRETRAINED') -> ConfigDict:
  """`pretrained` is the folder that holds 1/ and 2/, written by the commands above; seed 0 ships with the package."""
  config = runpy.run_path(str(pathlib.Path(__file__).with_name('quickstart.py')))['get_config']()
  config.name = 'quickstart_full'
  config.seed = 3000  # Question sets of its own, not quickstart's.
  config.question_sets = 6
  config.task.test = 1000
  config.models = {
    name: (f'embedded:{name}', f'{pretrained}/1/{name}', f'{pretrained}/2/{name}') for name in ('wc', 'se', 'student')
  }
  return config
