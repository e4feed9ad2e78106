"""Directories that this project writes, as the transformers library reads them: logits, texts, tokenizers."""

from __future__ import annotations

import functools
import gzip
import json
import os
import pathlib
import random

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from sweb_jax import tasks
from sweb_jax.models import huggingface, huggingface_tokenizer, sharding
from sweb_jax.models.gemma import huggingface_config, transformer
from sweb_jax.models.gemma.config import ModelConfig
from sweb_jax.models.source import open_model
from sweb_jax.models.tokenizer import Tokenizer
from sweb_jax.sampling import Engine, Request, Rule
from sweb_jax.tasks.rendering import Renderer

TOLERANCE = 2e-4  # Largest difference of a logit, float32.
DATA = pathlib.Path(os.environ.get('SWEB_TEST_DATA', pathlib.Path(__file__).parents[2] / '../shared/data'))
GEMMA2 = dict(pattern=('local', 'global'), window=6, attn_softcap=1.5, final_softcap=4.0, query_scale=24**-0.5)
GEMMA3 = dict(pattern=('local',) * 5 + ('global',), window=6, qk_norm=True, rope_base=1e6, query_scale=24**-0.5)
SHAPES = {
  'Gemma 1, one KV head': ModelConfig(193, 32, 80, 2, 4, 1, 16, post_norms=False, transpose_gating=False),
  'Gemma 1, every head its keys': ModelConfig(193, 32, 80, 2, 4, 4, 16, post_norms=False, transpose_gating=False),
  'Gemma 2, grouped': ModelConfig(193, 32, 80, 3, 4, 2, 16, **GEMMA2),
  'Gemma 2, every head its keys': ModelConfig(193, 32, 80, 3, 4, 4, 16, **GEMMA2),
  'Gemma 3, one KV head': ModelConfig(193, 32, 80, 7, 4, 1, 16, **GEMMA3),
  'Gemma 3, grouped, long': ModelConfig(193, 32, 80, 7, 4, 2, 16, **GEMMA3, rope_scale=8.0),
}

pytestmark = pytest.mark.slow


@pytest.fixture(scope='module', autouse=True)
def libraries():
  pytest.importorskip('torch')
  pytest.importorskip('transformers')


def random_params(config: ModelConfig) -> transformer.Params:
  """Weights large enough that every part of the network is felt."""
  rng = np.random.default_rng(3)

  def one(path, shape):
    scale = 0.3 if 'scale' in jax.tree_util.keystr(path) else max(config.width, config.hidden) ** -0.5 * 2
    return jnp.asarray(scale * rng.standard_normal(shape.shape, np.float32))

  return jax.tree.map_with_path(one, transformer.shapes(config))


@pytest.mark.parametrize('name', SHAPES)
def test_transformers_computes_the_same_logits_and_greedy_text(name, tmp_path):
  import torch
  from transformers import AutoModelForCausalLM, AutoTokenizer

  config, tokenizer = SHAPES[name], open_model('embedded:wc').tokenizer
  params = random_params(config)
  huggingface.save(tmp_path, config, params, tokenizer, shard_bytes=60_000)
  assert len(list(tmp_path.glob('*.safetensors'))) > 1
  model = AutoModelForCausalLM.from_pretrained(tmp_path)
  assert model.dtype == torch.float32
  tokens = np.random.default_rng(0).integers(3, 193, (2, 21))
  with torch.no_grad():
    expected = model(torch.tensor(tokens)).logits.numpy()
  assert expected.std() > 0.3
  found = jax.jit(transformer.forward, static_argnums=1)(params, config, tokens)
  assert np.abs(np.asarray(found) - expected).max() < TOLERANCE
  assert huggingface_config.read(tmp_path) == config

  text = 'tom has 12 apples .'
  prompt = Renderer(tokenizer).prompt(text)
  ids = AutoTokenizer.from_pretrained(tmp_path)(text, return_tensors='pt')
  assert ids['input_ids'][0].tolist() == list(prompt)
  with torch.no_grad():
    theirs = model.generate(**ids, max_new_tokens=12, suppress_tokens=[0, 2])[0, len(prompt) :].tolist()
  rule = Rule(0.0, forbidden=(0, 2))
  engine = Engine(
    config, sharding.make_mesh(), rule, stop_ids=(1,), prompt_length=len(prompt), max_new_tokens=12, slots=1, steps=12
  )
  (ours,) = engine.run(params, [Request('p', 0, prompt)], key=jax.random.key(0))
  assert list(ours.tokens) == theirs


@pytest.mark.parametrize('dtype', ['bfloat16', 'float16'])
def test_transformers_keeps_the_type_and_every_bit(dtype, tmp_path):
  import torch
  from transformers import AutoModelForCausalLM

  config = SHAPES['Gemma 2, grouped']
  params = jax.tree.map(lambda x: x.astype(dtype), random_params(config))
  huggingface.save(tmp_path, config, params, open_model('embedded:wc').tokenizer)
  model = AutoModelForCausalLM.from_pretrained(tmp_path)
  assert model.dtype == getattr(torch, dtype)
  theirs = model.model.layers[1].mlp.down_proj.weight.detach().float().numpy()
  np.testing.assert_array_equal(theirs.T, np.asarray(params['layer_1']['mlp']['linear'], np.float32))


def exported(tokenizer: Tokenizer, folder: pathlib.Path, chat: bool = False):
  from transformers import AutoTokenizer

  huggingface_tokenizer.save(folder, tokenizer, chat)
  (folder / 'config.json').write_text(json.dumps({'model_type': 'gemma2'}))
  return AutoTokenizer.from_pretrained(folder)


def vocabulary(name: str) -> Tokenizer:
  path = DATA / 'tokenizers' / f'{name}_rebuilt.model.gz'
  if not path.exists():
    pytest.skip(f'{path} is not there (SWEB_TEST_DATA)')
  return Tokenizer.from_bytes(gzip.decompress(path.read_bytes()))


def gsm8k() -> list[str]:
  paths = [DATA / f'gsm8k/{split}.jsonl.gz' for split in ('train', 'test')]
  if not all(p.exists() for p in paths):
    pytest.skip(f'{paths[0]} is not there (SWEB_TEST_DATA)')
  rows = [json.loads(line) for p in paths for line in gzip.decompress(p.read_bytes()).splitlines()]
  return [row[field] for row in rows for field in ('question', 'answer')]


def odd_texts(count: int) -> list[str]:
  """Texts of the parts in which tokenizers were seen to disagree."""
  rng = random.Random(0)
  parts = [' ', '  ', '   ', ' ' * 17, '\n', '\n\n', '\t', '\r\n', 'a', 'aaa', ' the', '1', '==', '.....', '-----']
  parts += ['<start_of_turn>', '<', '>', '<h1>', 'é', '𒀀', '🙂', '\u200b', '  \n \n']
  return [''.join(rng.choice(parts) for _ in range(rng.randint(1, 25))) for _ in range(count)]


@pytest.fixture(scope='module')
def vocabularies(tmp_path_factory):
  """A function: a real vocabulary, and its export as transformers reads it; that of Gemma 3 with chat turns."""

  @functools.cache
  def both(name: str):
    tokenizer = vocabulary(name)
    return tokenizer, exported(tokenizer, tmp_path_factory.mktemp(name), chat=name == 'gemma3')

  return both


@pytest.mark.parametrize('name', ['gemma2', 'gemma3'])
def test_an_exported_vocabulary_gives_the_same_ids_on_gsm8k_and_on_runs_of_spaces(name, vocabularies):
  tokenizer, theirs = vocabularies(name)
  texts = [*gsm8k()[::4], *odd_texts(2000)]
  assert sum('  ' in text for text in texts) > 1000
  for text, ids in zip(texts, theirs(texts, add_special_tokens=False)['input_ids'], strict=True):
    assert ids == tokenizer.encode(text), text
    assert theirs.decode(ids) == text
  assert (theirs.bos_token_id, theirs.eos_token_id, theirs.pad_token_id) == (2, 1, 0)
  assert theirs('Hello')['input_ids'] == [2, *tokenizer.encode('Hello')]


def test_an_exported_word_level_vocabulary_gives_the_same_ids(tmp_path):
  tokenizer = open_model('embedded:wc').tokenizer
  theirs = exported(tokenizer, tmp_path)
  words = [p.decode().strip() for p in tokenizer.pieces()[4:]] + ['unheard-of']
  rng = random.Random(1)
  for _ in range(1000):
    text = ''.join(rng.choice(words) + ' ' * rng.randint(1, 4) for _ in range(rng.randint(0, 9)))
    if 'unheard-of unheard-of' in ' '.join(text.split()):
      continue  # One <unk> in SentencePiece, one a word there.
    ids = tokenizer.encode(text)
    assert theirs(text, add_special_tokens=False)['input_ids'] == ids
    if tokenizer._pieces.unk_id() not in ids:
      assert theirs.decode(ids) == tokenizer.decode(ids) == ' '.join(text.split())


def test_the_chat_template_gives_the_renderers_ids(vocabularies):
  tokenizer, theirs = vocabularies('gemma3')
  renderer = Renderer(tokenizer, chat=True)
  for text in ('How many?', 'A:  1\n\nB: 2', '12 apples\nAnswer:', 'What is 2+2?\n', '\n\n  What?', ' \t x \r\n', '\n'):
    assert templated(theirs, text) == list(renderer.prompt(text))


def templated(theirs, text: str) -> list[int]:
  """The ids that transformers makes of a user's turn and the beginning of the model's."""
  turn = [{'role': 'user', 'content': text}]
  return theirs.apply_chat_template(turn, add_generation_prompt=True, return_dict=False)


@pytest.mark.parametrize(
  ('name', 'split', 'ends'),
  [
    ('arithmetic', 'test', ''),
    ('gsm8k', 'test', ''),
    ('math', 'test', ''),
    ('svamp', 'test', ''),
    ('functional_math', 'test', ''),
    ('mbpp', 'train', '\n'),
    ('humaneval', 'test', '\n'),
  ],
)
def test_a_chat_prompt_of_every_task_has_the_ids_of_the_template(name, split, ends, vocabularies):
  """`ends`: what the template trims of most prompts of the task."""
  if name != 'arithmetic' and not DATA.exists():
    pytest.skip(f'{DATA} is not there (SWEB_TEST_DATA)')
  task = tasks.get(name, data_dir='' if name == 'arithmetic' else str(DATA / name))
  tokenizer, theirs = vocabularies('gemma3')
  renderer = Renderer(tokenizer, chat=True)
  prompts = [task.prompt(p) for p in task.problems(split, 100, 0)]
  for prompt in prompts:
    assert templated(theirs, prompt) == list(renderer.prompt(prompt))
  assert sum(p != p.strip() and p.endswith(ends) for p in prompts) >= 90 if ends else True
