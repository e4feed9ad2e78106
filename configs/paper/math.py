"""The paper's comparison on MATH: Gemma 2 9B (WC) against 27B (SE), low and high budget, with Gemma 7B as student.

    python -m sweb_jax.main --config=configs/paper/math.py --config.data_dir=MATH_DIR --workdir=DIR \
      --config.models.wc=GEMMA2_9B --config.models.se=GEMMA2_27B --config.models.student=GEMMA_7B

The three are folders of pre-trained models (docs/checkpoints.md); without them `--dry_run` prints the plan.
--config.preset=low or high runs one budget. --config.train.seeds=3 --config.question_sets=3 gives intervals that
hold beyond one training and one choice of problems, at nine times the cost of training.

Protocol: 6,994 training problems (the worked examples' and 500 for validation left out), four worked examples,
temperature 0.7, top-k 3, at most 1,024 tokens; SE 1 or 10 samples a problem and WC 3 or 30; 19,200 or 192,000
examples for every learner, in batches of 32, the student's of 8 (so 600, 6,000, 2,400 and 24,000 steps); the best of
three learning rates and ten checkpoints by 500 validation problems; MATH-500 at the end, greedily and by majority of
1 to 16.

Cost: 279,760 samples, 2.4e18 FLOPs to draw them, 2.1e20 in all, 12.4 hours by the plan (low: 27,976 samples, 4.7
hours; high: 11.4), 24 on v5e-64 by steps that the TPU's compiler compiled (docs/pods.md). The plan assumes 300 tokens
a solution, 100 a problem and 600 of worked examples, and for 64 chips of TPU v5e (197 TFLOP/s each, bfloat16) 40 % of
the peak in training and 10 % in sampling, which memory bandwidth bounds. Not run.

Expected (the paper's, WC data against SE data, relative): low budget +6 % for the student, +3.8 % for WC, +5.8 % for
SE; high +5.8, +2 and +4.3 %. Coverage +11 and +6 points, diversity +86 and +125 %; false positives 24 against 17 %
(low).
"""

from ml_collections import ConfigDict

from sweb_jax.config import default

V5E_64 = 64 * 197e12
"""FLOP/s, the peak of 64 chips in bfloat16."""


def get_config() -> ConfigDict:
  config = default()
  config.name = 'paper_math'
  config.preset = 'both'
  config.presets = {
    'both': (),
    'low': (('budgets', {'low': {'se': 1}}),),
    'high': (('budgets', {'high': {'se': 10}}),),
  }
  config.task.update({'name': 'math', 'train': 6994, 'validation': 500, 'test': 500})
  config.models = {'wc': 'size:gemma2_9b', 'se': 'size:gemma2_27b', 'student': 'size:gemma_7b'}
  config.generators = ('wc', 'se')
  config.learners = ('student', 'wc', 'se')
  config.budgets = {'low': {'se': 1}, 'high': {'se': 10}}
  config.sampling.update({'few_shot': True, 'temperature': 0.7, 'top_k': 3, 'max_new_tokens': 1024})
  config.sampling.dtype = 'bfloat16'
  config.data.dedupe = True
  config.train.update(
    {
      'batch': 32,
      'batches': {'student': 8},
      'steps': {'low': 600, 'high': 6000, 'gold': 6000},
      'learning_rates': (1e-7, 5e-7, 1e-6),
      'row_length': 2048,
      'too_long': 'leave_out',  # 11 of the 6,994 solutions by people; the longest has 2,974 tokens.
      'remat': 'dots',
      'dtype': 'bfloat16',
      'peak_flops': 197e12,
    }
  )
  config.evaluate.maj_k = (1, 4, 8, 16)
  # Of training: the 8 KV heads of the 9B model are no 16. v5e-64 draws as one, on a mesh that each model gets by its
  # size; where hosts draw each for itself (v5p) it is with this `tensor`. docs/pods.md has the numbers.
  config.mesh.update({'data': -1, 'fsdp': 4, 'tensor': 16})
  config.train.tensor = {'wc': 8}
  config.estimate.update(
    {
      'prompt_tokens': 100,
      'few_shot_tokens': 600,
      'completion_tokens': 300,
      'sampling_flops': 0.1 * V5E_64,
      'training_flops': 0.4 * V5E_64,
    }
  )
  return config
