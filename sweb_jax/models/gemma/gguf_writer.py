"""Writes a Gemma as a GGUF file (llama.cpp's format) with the `gguf` package, one tensor after the other."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterator
from typing import Any

import jax
import numpy as np
from etils import epath

from sweb_jax.models import checkpoint
from sweb_jax.models import sentencepiece_proto as sp
from sweb_jax.models.decoder import Params
from sweb_jax.models.gemma import huggingface_tensors
from sweb_jax.models.gemma.config import ModelConfig
from sweb_jax.models.huggingface_tokenizer import chat_template
from sweb_jax.models.reading import CheckpointError
from sweb_jax.models.tokenizer import Tokenizer, TokenizerError

_CONTEXT = {'gemma': 8192, 'gemma2': 8192, 'gemma3': 32_768}
"""Tokens that the models of a version were made for; no architecture here says it."""
_NAMES = {
  'self_attn.q_proj': 'attn_q',
  'self_attn.k_proj': 'attn_k',
  'self_attn.v_proj': 'attn_v',
  'self_attn.o_proj': 'attn_output',
  'self_attn.q_norm': 'attn_q_norm',
  'self_attn.k_norm': 'attn_k_norm',
  'mlp.gate_proj': 'ffn_gate',
  'mlp.up_proj': 'ffn_up',
  'mlp.down_proj': 'ffn_down',
  'input_layernorm': 'attn_norm',
  'post_attention_layernorm': 'post_attention_norm',
  'pre_feedforward_layernorm': 'ffn_norm',
  'post_feedforward_layernorm': 'post_ffw_norm',
}
"""Hugging Face's name of a layer's tensor: GGUF's."""


def save(
  path: epath.Path,
  config: ModelConfig,
  params: Params,
  tokenizer: Tokenizer,
  kind: str = 'F32',
  *,
  chat: bool = False,
) -> None:
  """Writes the file. What GGUF cannot say of an architecture shows when it is read back.

  Args:
    path: what is there is written over.
    config: the architecture; it has as many rows as the tokenizer has pieces.
    params: the parameters, each of which comes to the host, is written and is let go.
    tokenizer: a byte-pair model.
    kind: of `gguf_file.KINDS`.
    chat: with the template of chat turns.

  Raises:
    CheckpointError: `gguf` is not installed, or a row cannot be divided into the blocks of a type.
    TokenizerError: a vocabulary that llama.cpp would read otherwise.
  """
  try:
    import gguf
  except ImportError as e:
    raise CheckpointError(f'{path}: writing GGUF needs the gguf package: pip install gguf') from e
  version = 'gemma3' if config.qk_norm else 'gemma2' if config.post_norms else 'gemma'
  writer = gguf.GGUFWriter(path, version)
  _add_architecture(writer, version, config, gguf.LlamaFileType[f'MOSTLY_{kind}' if kind != 'F32' else 'ALL_F32'])
  _add_vocabulary(writer, tokenizer, chat)
  for name, value in _tensors(config, jax.tree.map(lambda x: jax.ShapeDtypeStruct(x.shape, np.float32), params)):
    of = _kind(name, value.shape, kind)
    stored = _stored_shape(path, name, value.shape, of)
    dtype = {'F32': np.float32, 'F16': np.float16, 'Q8_0': np.uint8}[of]
    size = int(np.prod(stored)) * np.dtype(dtype).itemsize
    writer.add_tensor_info(name, stored, np.dtype(dtype), size, gguf.GGMLQuantizationType[of])
  writer.write_header_to_file()
  writer.write_kv_data_to_file()
  writer.write_ti_data_to_file()
  for name, value in _tensors(config, params):
    writer.write_tensor_data(stored_as(name, value, kind))
  writer.close()


def stored_as(name: str, value: np.ndarray, kind: str) -> np.ndarray:
  """A tensor as its type keeps it."""
  import gguf

  return gguf.quantize(np.ascontiguousarray(value), gguf.GGMLQuantizationType[_kind(name, value.shape, kind)])


def rounded(config: ModelConfig, params: Params, kind: str) -> Params:
  """The parameters as they come back from a file of a type, by another way than through a file."""
  import gguf

  def back(path, x):
    name = checkpoint.path_name(path)
    tensors = huggingface_tensors.tensors(name, np.asarray(x, np.float32), config)

    def read(tensor: str) -> np.ndarray:
      value = tensors[tensor]
      if value.ndim == 1:
        return value
      of = gguf.GGMLQuantizationType[kind]
      return gguf.dequantize(gguf.quantize(np.ascontiguousarray(value), of), of).reshape(value.shape)

    return jax.numpy.asarray(huggingface_tensors.parameter(name, read, config))

  return jax.tree.map_with_path(back, params)


def _tensors(config: ModelConfig, params: Any) -> Iterator[tuple[str, Any]]:
  """GGUF's name and value of every tensor; of shapes their shapes."""
  for path, x in jax.tree.leaves_with_path(params):
    name = checkpoint.path_name(path)
    if isinstance(x, jax.ShapeDtypeStruct):
      made = jax.eval_shape(lambda w, name=name: huggingface_tensors.tensors(name, w, config), x)
    else:
      made = huggingface_tensors.tensors(name, np.asarray(x.copy(), np.float32), config)
    for tensor, value in sorted(made.items()):  # JAX sorts the names of shapes.
      named = _name(tensor, config)
      # GGUF keeps the whole factor of a norm, 1 + scale.
      yield named, value + 1 if value.ndim == 1 and not isinstance(value, jax.ShapeDtypeStruct) else value


def _name(tensor: str, config: ModelConfig) -> str:
  tensor = tensor.removesuffix('.weight').removeprefix('model.')
  if (whole := {'embed_tokens': 'token_embd', 'norm': 'output_norm'}.get(tensor)) is not None:
    return f'{whole}.weight'
  _, layer, part = tensor.split('.', 2)
  if part == 'post_attention_layernorm' and not config.post_norms:
    part = 'pre_feedforward_layernorm'  # Gemma 1 has one norm before each half, and calls the second so.
  return f'blk.{layer}.{_NAMES[part]}.weight'


def _kind(name: str, shape: tuple[int, ...], kind: str) -> str:
  return 'F32' if len(shape) == 1 else kind


def _stored_shape(path: epath.Path, name: str, shape: tuple[int, ...], kind: str) -> tuple[int, ...]:
  """Of the bytes, for a type of blocks."""
  if kind != 'Q8_0':
    return tuple(shape)
  if shape[-1] % 32:
    raise CheckpointError(f'{path}: {name} has rows of {shape[-1]} values, and blocks of Q8_0 have 32; take F16')
  return (*shape[:-1], shape[-1] // 32 * 34)  # Of 32 bytes and a scale of two.


def _add_architecture(writer: Any, version: str, c: ModelConfig, file_type: int) -> None:
  writer.add_file_type(file_type)
  writer.add_context_length(_CONTEXT[version])
  writer.add_embedding_length(c.width)
  writer.add_block_count(c.layers)
  writer.add_feed_forward_length(c.hidden)
  writer.add_head_count(c.heads)
  writer.add_head_count_kv(c.kv_heads)
  writer.add_key_length(c.head_width)
  writer.add_value_length(c.head_width)
  writer.add_layer_norm_rms_eps(c.norm_eps)
  writer.add_rope_freq_base(c.rope_base)
  if c.rope_scale != 1:
    import gguf

    writer.add_rope_scaling_type(gguf.RopeScalingType.LINEAR)
    writer.add_rope_scaling_factor(c.rope_scale)
  if c.window:
    writer.add_sliding_window(c.window)
  if version == 'gemma3':
    writer.add_rope_freq_base_swa(c.local_rope_base)
  if c.attn_softcap:
    writer.add_attn_logit_softcapping(c.attn_softcap)
  if c.final_softcap:
    writer.add_final_logit_softcapping(c.final_softcap)


def _add_vocabulary(writer: Any, tokenizer: Tokenizer, chat: bool) -> None:
  v = tokenizer.vocabulary()
  if v.model_type != sp.BPE or v.character_map or v.add_dummy_prefix:
    raise TokenizerError(
      f'{tokenizer.name}: llama.cpp reads byte-pair vocabularies without character map and dummy prefix, and would '
      'read this one otherwise; --format=hf takes it'
    )
  marks = {sp.USER_DEFINED: sp.CONTROL}  # The marks of chat turns are control tokens to llama.cpp.
  writer.add_tokenizer_model('llama')
  # It looks for what a user defined in the text as it is, with its spaces.
  writer.add_token_list(
    [p.replace('\u2581', ' ') if t == sp.USER_DEFINED else p for p, t in zip(v.pieces, v.types, strict=True)]
  )
  writer.add_token_scores(list(v.scores))
  writer.add_token_types(
    [marks.get(t, t) if p in sp.TURN_MARKS else t for p, t in zip(v.pieces, v.types, strict=True)]
  )
  writer.add_bos_token_id(tokenizer.bos_id)
  writer.add_eos_token_id(tokenizer.eos_id)
  writer.add_pad_token_id(tokenizer.pad_id)
  writer.add_unk_token_id(v.types.index(sp.UNKNOWN))
  writer.add_add_bos_token(True)
  writer.add_add_space_prefix(False)
  if chat:
    writer.add_eot_token_id(tokenizer.turn_ids()[1])
    writer.add_chat_template(chat_template(*sp.TURNS[0]))


def without_spare_rows(config: ModelConfig, params: Params, rows: int) -> tuple[ModelConfig, Params]:
  """The model without the rows of its table that no piece has, which GGUF does not keep."""
  table = {'input_embedding': params['embedder']['input_embedding'][:rows]}
  return dataclasses.replace(config, vocab_size=rows), {**params, 'embedder': {**params['embedder'], **table}}
