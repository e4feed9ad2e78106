"""Two Gemmas of your own on GSM8K: copy this file, and change what is marked.

    python -m sweb_jax.main --config=configs/template.py --config.data_dir=GSM8K_DIR --workdir=DIR --dry_run
    python -m sweb_jax.main --config=configs/template.py --config.data_dir=GSM8K_DIR --workdir=DIR \
      --config.models.weak=GEMMA2_2B --config.models.strong=GEMMA2_9B

The first prints the plan and needs no weights. GSM8K_DIR holds train.jsonl and test.jsonl of the public data set
(docs/data.md); the models are folders (docs/checkpoints.md), here of Gemma 2 2B and 9B.

--config.preset=small is a first try: a tenth of the problems, the low budget, a quarter of an hour by the plan.

Cost: 315,847 samples, 4.1e17 FLOPs to draw them, 3.0e19 in all, 14.6 hours by the plan on 8 chips of TPU v5e, for which
40 % of the peak in training and 10 % in drawing are assumed. Not run.
"""

from ml_collections import ConfigDict

from sweb_jax.config import default

MACHINE = 8 * 197e12
"""FLOP/s, the peak of what the study runs on: here 8 chips of TPU v5e in bfloat16. CHANGE."""


def get_config() -> ConfigDict:
  config = default()
  config.name = 'my_gsm8k'  # CHANGE

  # The models: a folder each, or 'size:gemma2_9b' for a plan without one. CHANGE.
  config.models = {'weak': 'size:gemma2_2b', 'strong': 'size:gemma2_9b'}
  config.generators = ('weak', 'strong')  # They draw the data.
  config.learners = ('weak', 'strong')  # They are fine-tuned on it.
  # config.chat = ('weak', 'strong')  # For instruction-tuned models; then few_shot = False below.

  # By the dearer model's samples a problem. 'weak' draws as many as cost the same: 3.53 for one, which some
  # problems get four of. Without exact_ratio every problem gets four, as in the paper.
  config.budgets = {'low': {'strong': 1}, 'high': {'strong': 10}}
  config.cost.exact_ratio = True

  # All training problems of GSM8K, 500 of them held out to choose learning rates and checkpoints.
  config.task.update({'name': 'gsm8k', 'train': 6965, 'validation': 500, 'test': 1319})
  config.preset = 'full'
  config.presets = {
    'full': (),
    'small': (
      ('budgets', {'low': {'strong': 1}}),
      ('task.train', 700),
      ('task.validation', 200),
      ('task.test', 400),
      ('train.steps.low', 60),
      ('train.steps.gold', 60),
      ('train.checkpoints', 3),
    ),
  }

  # Base models read eight worked examples first, and stop where the next problem would begin.
  config.sampling.update({'few_shot': True, 'temperature': 0.7, 'top_k': 3, 'max_new_tokens': 512, 'dtype': 'bfloat16'})

  config.data.dedupe = True
  config.train.update(
    {
      'batch': 32,
      # As many examples for both arms of a comparison: 19,200 and 192,000, as in the paper.
      'steps': {'low': 600, 'high': 6000, 'gold': 6000},
      'learning_rates': (1e-7, 5e-7, 1e-6),  # The paper's for full fine-tuning; with adapters some ten times as high.
      'row_length': 1024,  # Tokens: the longest problem and solution must fit, as the plan checks.
      'remat': 'full',
      'dtype': 'bfloat16',
    }
  )
  config.evaluate.maj_k = (1, 4, 8)
  config.mesh.update({'data': 1, 'fsdp': 8, 'tensor': 1})  # CHANGE: their product is the number of chips.

  # For the plan's hours, and for progress: GSM8K's lengths in Gemma tokens, and the speed that is assumed.
  config.estimate.update(
    {
      'prompt_tokens': 70,
      'few_shot_tokens': 900,
      'completion_tokens': 150,
      'sampling_flops': 0.1 * MACHINE,
      'training_flops': 0.4 * MACHINE,
    }
  )
  return config
