"""The embedded study: the paper's comparison in a made world, on two CPU cores.

    python -m sweb_jax.main --config=configs/quickstart.py --workdir=DIR
"""

from ml_collections import ConfigDict

from sweb_jax.config import default


def get_config() -> ConfigDict:
  config = default()
  config.name = 'quickstart'
  config.seed = 2000
  config.question_sets = 3
  config.task.update({'name': 'arithmetic', 'made_world': True, 'train': 300, 'validation': 150, 'test': 340})
  config.models = {name: f'embedded:{name}' for name in ('wc', 'se', 'student')}
  config.generators = ('wc', 'se')
  config.learners = ('student', 'wc', 'se')
  config.budgets = {'low': {'se': 1}, 'high': {'se': 10}}
  config.number_matched = True
  config.sampling.max_new_tokens = 24
  config.data.max_per_problem = 4
  config.train.update(
    {
      'batch': 32,
      'steps': {'low': 25, 'high': 60, 'gold': 60},
      'learning_rates': (1.25e-3, 2.5e-3),
      'checkpoints': 2,
      'row_length': 40,
      'b2': 0.98,
      'weight_decay': 0.01,
    }
  )
  config.evaluate.maj_k = (4,)
  config.engine.update({'slots': 256, 'steps': 8, 'jobs': 3})
  config.estimate.update(
    {'prompt_tokens': 20, 'completion_tokens': 15, 'sampling_flops': 4e9, 'training_flops': 15e9}
  )
  return config
