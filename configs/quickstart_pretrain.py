"""The three models of the embedded study, from scratch.

    python -m sweb_jax.pretrain --config=configs/quickstart_pretrain.py --workdir=DIR

writes DIR/wc, DIR/se and DIR/student as model folders (config.json, params in float16, tokenizer.model):
about 4 minutes on 2 CPU cores. What ships with the package was made by this command with --config.seed=0.
"""

from ml_collections import ConfigDict


def get_config() -> ConfigDict:
  config = ConfigDict()
  config.seed = 0
  config.world = 0  # Of the task: its verbs and how reliably the corpus reads each.
  config.batch = 64
  config.row_length = 40
  config.warmup = 50
  config.final = 0.1  # The cosine ends at this share of the peak.
  config.b2 = 0.98
  config.weight_decay = 0.01
  config.models = ConfigDict(
    {
      'wc': dict(layers=2, width=48, hidden=96, head_width=24, steps=1300, learning_rate=5e-3),
      'se': dict(layers=3, width=64, hidden=168, head_width=32, steps=1200, learning_rate=4e-3),
      'student': dict(layers=2, width=48, hidden=112, head_width=24, steps=900, learning_rate=5e-3),
    }
  )
  return config
