"""GGUF files out: read back with the same logits by this project, and by the package that defines the format."""

from __future__ import annotations

import dataclasses

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from sweb_jax.models import conversion, sharding
from sweb_jax.models import sentencepiece_proto as sp
from sweb_jax.models.checkpoint import CheckpointError
from sweb_jax.models.gemma import gguf_writer, transformer
from sweb_jax.models.gemma.config import ModelConfig
from sweb_jax.models.source import open_model, save_model
from sweb_jax.models.tokenizer import Tokenizer, TokenizerError

gguf = pytest.importorskip('gguf')

PIECES = ['<pad>', '<eos>', '<bos>', '<unk>', '<start_of_turn>', '<end_of_turn>', '\n\n', '▁▁']
TYPES = [sp.CONTROL, sp.CONTROL, sp.CONTROL, sp.UNKNOWN] + [sp.USER_DEFINED] * 4 + [sp.BYTE] * 256 + [sp.NORMAL] * 7
PIECES += [f'<0x{i:02X}>' for i in range(256)] + ['h', 'e', 'y', '▁', 'he', 'hey', '▁hey']
ROWS = len(PIECES)
GEMMA1 = ModelConfig(ROWS, 64, 96, 2, 4, 4, 16, post_norms=False, transpose_gating=False)
GEMMA2 = ModelConfig(
  ROWS, 64, 96, 3, 4, 2, 16, pattern=('local', 'global'), window=6, attn_softcap=50.0, final_softcap=30.0
)
GEMMA3 = ModelConfig(
  ROWS, 64, 96, 7, 4, 1, 32, pattern=('local',) * 5 + ('global',), window=6, qk_norm=True, rope_base=1e6, rope_scale=8.0
)
ALL = pytest.mark.parametrize('config', [GEMMA1, GEMMA2, GEMMA3], ids=['Gemma 1', 'Gemma 2', 'Gemma 3'])


def vocabulary() -> Tokenizer:
  ids = {'pad': 0, 'eos': 1, 'bos': 2, 'unk': 3}
  return Tokenizer.from_bytes(sp.build_bpe(PIECES, [float(-i) for i in range(ROWS)], TYPES, ids))


def some_params(config: ModelConfig) -> transformer.Params:
  rng = np.random.default_rng(0)
  return jax.tree.map(lambda x: jnp.asarray(0.2 * rng.standard_normal(x.shape, np.float32)), transformer.shapes(config))


def saved(folder, config: ModelConfig) -> str:
  save_model(folder, config, some_params(config), vocabulary())
  return str(folder)


@ALL
def test_what_is_written_is_read_back_with_the_same_logits_and_the_same_tokenizer(config, tmp_path):
  found = conversion.convert(saved(tmp_path / 'a', config), tmp_path / 'b.gguf', 'gguf')
  assert found.largest <= conversion.TOLERANCE
  back = open_model(str(tmp_path / 'b.gguf'))
  assert back.config == config
  for text in ('hey hey', 'h  e\n\n<start_of_turn>user\nhey é', ' '):
    assert back.tokenizer.encode(text) == vocabulary().encode(text)
  assert back.tokenizer.turn_ids() == (4, 5)
  there = {t.name: t for t in gguf.GGUFReader(tmp_path / 'b.gguf').tensors}
  np.testing.assert_array_equal(there['blk.1.ffn_down.weight'].data, some_params(config)['layer_1']['mlp']['linear'].T)
  assert sorted(p.name for p in tmp_path.iterdir()) == ['a', 'b.gguf']


@pytest.mark.parametrize('kind', ['F16', 'Q8_0'])
def test_types_that_round_are_as_far_from_the_model_as_their_rounding(kind, tmp_path):
  source = saved(tmp_path / 'a', GEMMA2)
  found = conversion.convert(source, tmp_path / 'b.gguf', 'gguf', kind=kind)
  assert 0 < found.largest < {'F16': 0.02, 'Q8_0': 0.5}[kind]
  params, back = some_params(GEMMA2), open_model(str(tmp_path / 'b.gguf')).load(sharding.make_mesh(), None)
  # Q8_0: 255 steps between plus and minus the largest of 32 values.
  step = {'F16': 2.0**-11, 'Q8_0': 1 / 254 + 2.0**-11}[kind]
  largest = {'F16': lambda x: abs(x), 'Q8_0': lambda x: abs(x).max()}[kind]
  for ours, theirs in zip(jax.tree.leaves(params), jax.tree.leaves(back), strict=True):
    assert (abs(ours - theirs) <= step * largest(ours) + 1e-6).all()
  kinds = {t.tensor_type.name for t in gguf.GGUFReader(tmp_path / 'b.gguf').tensors}
  assert kinds == {kind, 'F32'}


def test_rows_that_no_piece_has_are_left_out(tmp_path):
  config = dataclasses.replace(GEMMA2, vocab_size=ROWS + 5)
  conversion.convert(saved(tmp_path / 'a', config), tmp_path / 'b.gguf', 'gguf')
  assert open_model(str(tmp_path / 'b.gguf')).config == GEMMA2


def test_what_gguf_cannot_say_is_refused_and_leaves_nothing(tmp_path):
  config = dataclasses.replace(GEMMA3, pattern=('local', 'global'))
  with pytest.raises(CheckpointError, match='came out, with another pattern; it was not kept'):
    conversion.convert(saved(tmp_path / 'a', config), tmp_path / 'b.gguf', 'gguf')
  with pytest.raises(TokenizerError, match=r'llama\.cpp reads byte-pair vocabularies'):
    conversion.convert('embedded:wc', tmp_path / 'b.gguf', 'gguf')
  with pytest.raises(CheckpointError, match=r'a GGUF is a file whose name ends in \.gguf'):
    conversion.convert('embedded:wc', tmp_path / 'b', 'gguf')
  narrow = dataclasses.replace(GEMMA2, hidden=80)
  with pytest.raises(CheckpointError, match=r'ffn_down\.weight has rows of 80 values, and blocks of Q8_0 have 32'):
    conversion.convert(saved(tmp_path / 'c', narrow), tmp_path / 'b.gguf', 'gguf', kind='Q8_0')
  assert sorted(p.name for p in tmp_path.iterdir()) == ['a', 'c']


def test_a_file_that_computes_something_else_is_not_kept(tmp_path, monkeypatch):
  monkeypatch.setitem(gguf_writer._NAMES, 'mlp.gate_proj', 'ffn_up')
  monkeypatch.setitem(gguf_writer._NAMES, 'mlp.up_proj', 'ffn_gate')
  with pytest.raises(CheckpointError, match='its logits differ'):
    conversion.convert(saved(tmp_path / 'a', GEMMA2), tmp_path / 'b.gguf', 'gguf')
  assert [p.name for p in tmp_path.iterdir()] == ['a']


def test_a_model_of_chat_turns_takes_their_template_along(tmp_path):
  conversion.convert(saved(tmp_path / 'a', GEMMA2), tmp_path / 'b.gguf', 'gguf', chat=True)
  fields = gguf.GGUFReader(tmp_path / 'b.gguf').fields
  assert '<start_of_turn>' in fields['tokenizer.chat_template'].contents()
  assert fields['tokenizer.ggml.eot_token_id'].contents() == 5


@pytest.mark.slow
@ALL
def test_llama_cpp_gives_the_same_probabilities(config, tmp_path):
  """It keeps keys and values in 16 bits, and looks GELU up in a table: hence the tolerance, on logits up to 30."""
  library = pytest.importorskip('xllamacpp')
  conversion.convert(saved(tmp_path / 'a', config), tmp_path / 'b.gguf', 'gguf')
  said = library.CommonParams()
  said.model.path, said.n_ctx, said.n_parallel, said.cpuparams.n_threads = str(tmp_path / 'b.gguf'), 128, 1, 1
  server, model, seen, at = library.Server(said), open_model(str(tmp_path / 'a')), 0, 0
  logits = conversion._logits(model, model.load(sharding.make_mesh(), None))  # Compiled by the conversion.
  whole = np.asarray(jax.nn.log_softmax(logits))
  for ids in conversion.prompts(config, vocabulary()):
    ours, at = whole[at : at + len(ids)], at + len(ids)
    for length in range(2, len(ids), 7):
      asked = {'prompt': ids[:length], 'n_predict': 1, 'n_probs': ROWS, 'temperature': 0, 'ignore_eos': True}
      told = server.handle_completions(asked | {'cache_prompt': False})['choices'][0]['logprobs']
      if told is None:  # A byte that is no whole character is not told of.
        continue
      top = told['content'][0]['top_logprobs']
      np.testing.assert_allclose([t['logprob'] for t in top], ours[length - 1][[t['id'] for t in top]], atol=0.03)
      seen += len(top) == ROWS
  assert seen > 10
