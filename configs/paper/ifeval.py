"""Instruction following: responses kept without a filter, tested on IFEval.

    python -m sweb_jax.main --config=configs/paper/ifeval.py --config.data_dir=PROMPTS_DIR --workdir=DIR \
      --config.models.wc=GEMMA2_9B --config.models.se=GEMMA2_27B --config.models.student=GEMMA_7B

As configs/paper/math.py, presets and all, but for prompts in place of problems (docs/own_tasks.md; `pip install
'sweb_jax[ifeval]'`). PROMPTS_DIR has three files in IFEval's format: input_data.jsonl, its 541 prompts as published;
train.jsonl, prompts to draw responses for, which may lack instructions, of which at least four have a response in the
field `solution` and are the worked examples; validation.jsonl, prompts with instructions that are not IFEval's, as no
test set may choose a checkpoint. Which prompts the paper drew for, and how many, is not known here: 5,000 is a guess,
and so are four worked examples. Nothing says which response is right, so all whole ones are kept.

Cost: 200,000 samples, 1.7e18 FLOPs to draw them, 1.3e20 in all, 7.4 hours by the plan (300 tokens a response, 60 a
prompt, 1,200 of worked examples). Not run.

Expected: WC data ahead of SE data; the paper's numbers are not known here.
"""

import pathlib
import runpy

from ml_collections import ConfigDict


def get_config() -> ConfigDict:
  math = pathlib.Path(__file__).with_name('math.py')
  config = runpy.run_path(str(math))['get_config']()
  config.name = 'paper_ifeval'
  config.task.update({'name': 'jsonl', 'answer': 'instructions', 'shots': 4})
  config.task.update({'train': 5000, 'validation': 250, 'test': 541})
  config.task.files = {'train': 'train.jsonl', 'validation': 'validation.jsonl', 'test': 'input_data.jsonl'}
  config.data.filter = 'none'
  config.gold = False
  config.evaluate.maj_k = ()
  config.estimate.update({'prompt_tokens': 60, 'few_shot_tokens': 1200})
  return config
