"""What a GGUF file's metadata says of a Gemma: its architecture and its tokenizer."""

from __future__ import annotations

import dataclasses
import os
from collections.abc import Mapping
from typing import Annotated, Any

import numpy as np
import pydantic
from pydantic import Field

from sweb_jax.models import sentencepiece_proto
from sweb_jax.models.gemma.config import SIZES, ModelConfig, transposed_gating
from sweb_jax.models.gguf_file import Fields, GgufError
from sweb_jax.runtime.typed import fault

ARCHITECTURES = ('gemma', 'gemma2', 'gemma3')
_SPECIAL_KEYS = {'unk': 'unknown', 'bos': 'bos', 'eos': 'eos', 'pad': 'padding'}
"""SentencePiece's name: GGUF's."""


def config(path: str | os.PathLike, field: Fields) -> ModelConfig:
  """The architecture. What a GGUF leaves out is the same in every Gemma of a version, but for 27B's query scale.

  Raises:
    GgufError: no Gemma, or a field is missing, of the wrong type or out of its range, or asks for what is not computed
      here.
  """
  if (kind := field('general.architecture')) not in ARCHITECTURES:
    raise GgufError(
      f'{path}: general.architecture is {kind!r:.100}; {", ".join(ARCHITECTURES)} can be read; Gemma 3n and 4 from '
      'Hugging Face directories and Orbax folders'
    )
  head_width = field(f'{kind}.attention.key_length')
  width, layers = field(f'{kind}.embedding_length'), field(f'{kind}.block_count')
  # Other values would change what the model computes.
  scalings = ('none', 'linear') if kind == 'gemma3' else ('none',)
  for key, default, allowed in (
    ('attention.value_length', head_width, (head_width,)),
    ('rope.dimension_count', head_width, (head_width,)),
    ('rope.scaling.type', 'none', scalings),
    ('rope.scaling.attn_factor', 1.0, (1.0,)),
    *([] if kind == 'gemma3' else [('rope.scaling.factor', 1.0, (0.0, 1.0))]),
  ):
    if (found := field(f'{kind}.{key}', default)) not in allowed:
      raise GgufError(f'{path}: {kind}.{key}={found!r:.100} is not supported, only {" or ".join(map(str, allowed))}')
  if not isinstance(tokens := field('tokenizer.ggml.tokens'), list):
    raise GgufError(f'{path}: tokenizer.ggml.tokens is no list')
  out = {
    'vocab_size': len(tokens),
    'width': width,
    'hidden': field(f'{kind}.feed_forward_length'),
    'layers': layers,
    'heads': field(f'{kind}.attention.head_count'),
    'kv_heads': field(f'{kind}.attention.head_count_kv'),
    'head_width': head_width,
    'rope_base': field(f'{kind}.rope.freq_base', *([] if kind == 'gemma3' else [10_000.0])),
    'norm_eps': _decimal(field(f'{kind}.attention.layer_norm_rms_epsilon')),
  }
  if kind == 'gemma':
    out |= {'post_norms': False}
  else:
    large = SIZES['gemma2_27b' if kind == 'gemma2' else 'gemma3_27b']
    period = len(large.pattern)
    if (every := field(f'{kind}.attention.sliding_window_pattern', period)) != period:
      raise GgufError(f'{path}: {kind}.attention.sliding_window_pattern={every!r:.100}; in {kind} it is {period}')
    out |= {'pattern': large.pattern, 'window': field(f'{kind}.attention.sliding_window')}
    out |= {'query_scale': large.query_scale if (width, layers) == (large.width, large.layers) else None}
    out |= {
      'attn_softcap': field(f'{kind}.attn_logit_softcapping', large.attn_softcap),
      'final_softcap': field(f'{kind}.final_logit_softcapping', large.final_softcap),
    }
  if kind == 'gemma3':
    out |= {'qk_norm': True, 'local_rope_base': field('gemma3.rope.freq_base_swa', 10_000.0)}
    out |= {'rope_scale': field('gemma3.rope.scaling.factor', 1.0)}
  elif kind == 'gemma2':
    out |= {'local_rope_base': out['rope_base']}
  try:
    found = ModelConfig(**out)
  except pydantic.ValidationError as e:
    raise GgufError(f'{path}: in its metadata: {fault(e)}') from e
  return dataclasses.replace(found, transpose_gating=transposed_gating(found))


def _decimal(stored: Any) -> Any:
  """A float32 as it was written: 1e-6 comes back as 9.999999974752427e-07."""
  return float(str(np.float32(stored))) if isinstance(stored, float) else stored


class _Vocabulary(pydantic.BaseModel):
  """The arrays of a vocabulary. Types are those of pieces."""

  model_config = pydantic.ConfigDict(strict=True, allow_inf_nan=False)

  tokens: list[str]
  scores: list[float]
  token_type: list[Annotated[int, Field(ge=1, le=6)]]
  ids: dict[str, Annotated[int, Field(ge=0)]]


def sentencepiece_model(path: str | os.PathLike, field: Fields) -> bytes:
  """The serialised SentencePiece ModelProto of the file's vocabulary. Raises GgufError where it has none."""
  if (kind := field('tokenizer.ggml.model')) != 'llama':
    raise GgufError(f"{path}: tokenizer.ggml.model is {kind!r:.100}; only 'llama', SentencePiece, can be read")
  said: Mapping[str, Any] = {name: field(f'tokenizer.ggml.{name}') for name in ('tokens', 'scores', 'token_type')}
  try:
    v = _Vocabulary(**said, ids={n: field(f'tokenizer.ggml.{key}_token_id') for n, key in _SPECIAL_KEYS.items()})
  except pydantic.ValidationError as e:
    raise GgufError(f'{path}: in tokenizer.ggml: {fault(e)}') from e
  pieces, types, scores, ids = v.tokens, v.token_type, v.scores, v.ids
  if not len(pieces) == len(types) == len(scores) > max(ids.values()):
    raise GgufError(
      f'{path}: tokenizer.ggml has {len(pieces)} tokens, {len(types)} types, {len(scores)} scores, ids {ids}'
    )
  # llama.cpp writes the pieces that are runs of spaces as such; inside SentencePiece a space is U+2581.
  pieces = [piece.replace(' ', '\u2581') for piece in pieces]
  for name, i in ids.items():
    types[i] = sentencepiece_proto.UNKNOWN if name == 'unk' else sentencepiece_proto.CONTROL
  # llama.cpp also makes the marks of a chat turn control tokens, which no text could hold.
  marks = sentencepiece_proto.TURN_MARKS
  types = [sentencepiece_proto.USER_DEFINED if p in marks else kind for p, kind in zip(pieces, types, strict=True)]
  return sentencepiece_proto.build_bpe(pieces, scores, types, ids)
