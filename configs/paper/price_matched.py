"""Equal money instead of equal compute on MATH: one SE sample a problem against what its price buys of WC.

    python -m sweb_jax.main --config=configs/paper/price_matched.py --config.data_dir=MATH_DIR --workdir=DIR \
      --config.models.wc=GEMMA2_9B --config.models.se=GEMMA2_27B --config.models.student=GEMMA_7B

--config.preset=gemma2 (default): dollars a million tokens, input and output, of Gemma 2 27B at OpenRouter (0.65, its
page as of 2026) and of Gemma 2 9B at Groq (0.20, its price list as of 2025): 3 WC samples. --config.preset=gemini:
the paper's Gemini 1.5 Pro (3.5, 10.5) and Flash (0.075, 0.3): 35 WC samples, here drawn by the two Gemmas. Your own:
--config.cost.prices.wc='(0.1,0.2)'. --config.preset=recorded: at the same prices, samples of the two Geminis
themselves, or of any two models behind an API, from files (docs/own_data.md):

    python -m sweb_jax.main --config=configs/paper/price_matched.py --config.data_dir=MATH_DIR --workdir=DIR \
      --config.preset=recorded --config.models.flash=samples:FLASH.jsonl --config.models.pro=samples:PRO.jsonl ...

Cost: 251,784 samples, 1.5e18 FLOPs to draw them, 1.6e19 in all, 1.4 hours by the plan (preset gemini). Not run.

Expected (the paper's, 35 samples of Flash against 1 of Pro, relative): +31.6 % for the 7B student, +14.4 % for 9B,
+10.9 % for 27B; coverage 81 against 61.1 %. Of 5 samples of Flash, for 0.15 of the cost: +19.1, +9.8 and +5.7 %.
"""

import pathlib
import runpy

from ml_collections import ConfigDict


def get_config() -> ConfigDict:
  math = pathlib.Path(__file__).with_name('math.py')
  config = runpy.run_path(str(math))['get_config']()
  config.name = 'paper_price_matched'
  config.preset = 'gemma2'
  config.presets = {
    'gemma2': (),
    'gemini': (('cost.prices.se', (3.5, 10.5)), ('cost.prices.wc', (0.075, 0.3))),
    'recorded': (
      ('models.flash', 'samples:flash.jsonl'),
      ('models.pro', 'samples:pro.jsonl'),
      ('generators', ('flash', 'pro')),
      ('budgets', {'low': {'pro': 1}}),
      ('cost.prices', {'pro': (3.5, 10.5), 'flash': (0.075, 0.3)}),
    ),
  }
  config.budgets = {'low': {'se': 1}}
  config.cost.update({'name': 'price', 'prices': {'se': (0.65, 0.65), 'wc': (0.2, 0.2)}})
  config.gold = False
  return config
