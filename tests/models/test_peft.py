"""Adapters alone: found again from a model and its base, and loaded by the `peft` library."""

from __future__ import annotations

import json

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from sweb_jax.models import conversion, peft, sharding
from sweb_jax.models.checkpoint import CheckpointError
from sweb_jax.models.gemma import transformer
from sweb_jax.models.gemma.config import ModelConfig
from sweb_jax.models.source import open_model, save_model
from sweb_jax.training import lora

GEMMA1 = ModelConfig(193, 32, 48, 2, 4, 4, 16, post_norms=False, transpose_gating=False)
GEMMA2 = ModelConfig(
  193, 32, 48, 2, 4, 2, 16, pattern=('local', 'global'), window=6, attn_softcap=50.0, final_softcap=30.0,
  query_scale=24**-0.5,
)  # fmt: skip
GEMMA3 = ModelConfig(193, 32, 48, 3, 4, 1, 16, pattern=('local', 'global'), window=6, qk_norm=True, rope_base=1e6)
RANK = 3


def some_params(config: ModelConfig) -> transformer.Params:
  rng = np.random.default_rng(0)
  return jax.tree.map(lambda x: jnp.asarray(0.2 * rng.standard_normal(x.shape, np.float32)), transformer.shapes(config))


def trained(params: transformer.Params, targets: str, rank: int = RANK) -> transformer.Params:
  """The parameters with adapters of the training's own merged in, neither factor 0."""
  how = lora.Lora(rank, 16.0, targets)
  rng = np.random.default_rng(1)
  adapters = jax.tree.map(
    lambda x: jnp.asarray(0.05 * rng.standard_normal(x.shape, np.float32)), lora.init(params, how, jax.random.key(0))
  )
  return lora.merge(params, adapters, how)


def saved(tmp_path, config: ModelConfig, targets: str = 'einsum|linear', **params):
  """Folders of a base and of what was trained from it."""
  base = some_params(config)
  tokenizer = open_model('embedded:wc').tokenizer
  save_model(tmp_path / 'base', config, base, tokenizer)
  save_model(tmp_path / 'tuned', config, params.get('tuned', trained(base, targets)), tokenizer)
  return str(tmp_path / 'base'), str(tmp_path / 'tuned')


@pytest.mark.parametrize('config', [GEMMA1, GEMMA2, GEMMA3], ids=['Gemma 1', 'Gemma 2', 'Gemma 3'])
def test_adapters_of_every_projection_are_found_again_with_their_rank(config, tmp_path):
  base, tuned = saved(tmp_path, config)
  found = conversion.convert(tuned, tmp_path / 'out', 'peft', base=base)
  assert found.largest <= conversion.TOLERANCE
  said = json.loads((tmp_path / 'out' / peft.CONFIG).read_text())
  assert said['r'] == said['lora_alpha'] == RANK and said['base_model_name_or_path'] == base
  assert len(said['target_modules']) == 7 * config.layers
  assert sorted(p.name for p in tmp_path.iterdir()) == ['base', 'out', 'tuned']


@pytest.mark.slow
@pytest.mark.parametrize('config', [GEMMA2, GEMMA3], ids=['Gemma 2', 'Gemma 3'])
def test_the_peft_library_loads_them_onto_the_base_with_the_same_logits(config, tmp_path):
  library, torch = pytest.importorskip('peft'), pytest.importorskip('torch')
  transformers = pytest.importorskip('transformers')
  base, tuned = saved(tmp_path, config, 'layer_1/.*(q_einsum|linear)')
  conversion.convert(tuned, tmp_path / 'adapters', 'peft', base=base)
  conversion.convert(base, tmp_path / 'hf', 'hf')
  model = transformers.AutoModelForCausalLM.from_pretrained(tmp_path / 'hf', dtype='float32')
  model = library.PeftModel.from_pretrained(model, tmp_path / 'adapters').eval()
  opened = open_model(tuned)
  ours = conversion._logits(opened, opened.load(sharding.make_mesh(), None))  # Compiled by the conversion.
  with torch.no_grad():
    rows = [model(torch.tensor([ids])).logits[0] for ids in conversion.prompts(opened.config, opened.tokenizer)]
  np.testing.assert_allclose(np.concatenate(rows), ours, atol=conversion.TOLERANCE)
  assert len(json.loads((tmp_path / 'adapters' / peft.CONFIG).read_text())['target_modules']) == 2


def test_a_model_that_was_not_trained_as_adapters_is_refused_by_what_differs(tmp_path):
  base, tuned = saved(tmp_path, GEMMA2)
  for changed, message in (
    (('final_norm', 'scale'), r'model\.norm\.weight was trained too, and is no projection'),
    (('embedder', 'input_embedding'), r'model\.embed_tokens\.weight was trained too'),
  ):
    other = some_params(GEMMA2)
    other[changed[0]][changed[1]] = other[changed[0]][changed[1]] + 1
    save_model(tmp_path / 'other', GEMMA2, other, open_model(base).tokenizer)
    with pytest.raises(CheckpointError, match=message):
      conversion.convert(str(tmp_path / 'other'), tmp_path / 'out', 'peft', base=base)
  with pytest.raises(CheckpointError, match='the same; there are no adapters'):
    conversion.convert(base, tmp_path / 'out', 'peft', base=base)
  with pytest.raises(CheckpointError, match=r'is no base of it, with another .*width'):
    conversion.convert(tuned, tmp_path / 'out', 'peft', base='embedded:se')
  assert sorted(p.name for p in tmp_path.iterdir()) == ['base', 'other', 'tuned']


def test_a_difference_of_a_higher_rank_is_refused(monkeypatch):
  rng = np.random.default_rng(0)
  delta = rng.standard_normal((64, 48)).astype(np.float32)
  a, b = peft._factor('w', delta, 1e-5)
  np.testing.assert_allclose(b @ a, delta, atol=1e-5)
  monkeypatch.setattr(peft, 'MAX_RANK', 12)
  with pytest.raises(CheckpointError, match='w: differs from the base by more than adapters of rank 12 give'):
    peft._factor('w', delta, 1e-5)


def test_rounding_adds_nothing_to_the_rank():
  rng = np.random.default_rng(0)
  w = rng.standard_normal((300, 200)).astype(np.float32)
  b, a = rng.standard_normal((300, 5)).astype(np.float32), 0.01 * rng.standard_normal((5, 200)).astype(np.float32)
  delta = (w + b @ a) - w
  found = peft._factor('w', delta, 32 * np.finfo(np.float32).eps * float(abs(w).max()))
  assert found[0].shape == (5, 200)
  np.testing.assert_allclose(found[1] @ found[0], b @ a, atol=2e-6)
