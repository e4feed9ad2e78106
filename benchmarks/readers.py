"""Every reader of files that others may have damaged or made up, with a sound file: for `fuzz.py` and the tests."""

from __future__ import annotations

import dataclasses
import functools
import gzip
import importlib.resources
import io
import json
import random
import struct
import tempfile
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import jax
import numpy as np
import pyarrow as pa
from etils import epath
from pyarrow import parquet

from sweb_jax import layout, records
from sweb_jax.analysis.table import Table
from sweb_jax.answers.judge import Opinion
from sweb_jax.budget import ledger
from sweb_jax.budget.cost import BudgetError
from sweb_jax.models import huggingface_tokenizer, tensor_file
from sweb_jax.models import sentencepiece_proto as proto
from sweb_jax.models.gemma import gguf_reader, gguf_writer, huggingface_config, transformer
from sweb_jax.models.gemma.config import ModelConfig
from sweb_jax.models.reading import CheckpointError
from sweb_jax.models.tokenizer import Tokenizer, TokenizerError
from sweb_jax.records import Example, Problem, RecordError, Sample, Verdict
from sweb_jax.runtime import manifest
from sweb_jax.runtime.by_problem import ByProblem
from sweb_jax.sampling import Store, recorded
from sweb_jax.tasks import Own, TaskError, grading, jsonl


@dataclasses.dataclass(frozen=True)
class Reader:
  """Of one kind of file."""

  good: Callable[[], bytes]
  """A sound file."""
  read: Callable[[Path, bytes], None]
  """Writes bytes into a folder, reads them, and asserts what is true of all that is taken in."""
  refusals: tuple[type[Exception], ...] = ()
  """What it raises, in a sentence, at a file that it does not take."""

  def __call__(self, folder: Path, data: bytes) -> None:
    """Reads; raises AssertionError, or whatever a reader must not raise, where there is a fault."""
    for path in folder.glob('*'):  # Of the file before.
      path.unlink()
    try:
      self.read(folder, data)
    except self.refusals as e:
      assert 0 < len(str(e)) < 2000, repr(e)


PROBLEM = Problem('train/1', 'How many?\n', '5', (' Five. "5"', ' \\boxed{5}'), 'Level 1')
SAMPLE = Sample('train/1', 3, ' é \\frac{1}{2} \u2028 "x"', (17, 4, 250_000, 1), 'stop', -1.25)
VERDICT = Verdict('train/1', 3, '5', True, 'right', None, '5', True, True, 'agrees', 0)
EXAMPLE = Example('train/1', 'Q: How many?\nA:', ' 5')
OPINION = Opinion('train/1', 3, True, 12, 40)
ENTRY = ledger.Entry('chunk-000000.jsonl', 'samples/set0/wc', 'wc', {'completion': 12}, 0.5)
MANIFEST = manifest.Manifest('1', 'samples', 1, {'a': 1}, {}, {'problems/set0': '2'}, {'count': 3}, True, 1.0, '', {})

DRAWN = (
  {'id': 'a', 'completion': ' 5', 'completion_tokens': 3, 'index': 0, 'finish_reason': 'stop', 'logprob': -1.0},
  {'problem': 'How many?', 'completions': [' 5', ' 6'], 'usage': {'completion_tokens': 7, 'prompt_tokens': 9}},
  {'custom_id': 'a', 'response': {'body': {'choices': [{'message': {'role': 'assistant', 'content': '5'}}]}}},
)
ASKED = (recorded.Asked('a', ('How many?',)), recorded.Asked('b', ('What?',)))
PROBLEMS = {
  'number': {'question': 'How many?', 'answer': '5', 'solution': 'Five. #### 5', 'level': 'easy'},
  'mathematical': {'question': 'How much?', 'answer': r'\frac{1}{2}', 'solution': r'Half: \boxed{\frac12}'},
  'choice': {'question': 'Which?', 'answer': 'B', 'choices': ['x', 'y', 'z']},
  'text': {'question': 'What?', 'answer': 'ten', 'choices': {'A': 'x', 'B': 'y'}},
}
"""A row of each kind of answer; what is more than a kind needs is looked at too."""
HUGGING_FACE = {
  'model_type': 'gemma2', 'vocab_size': 193, 'hidden_size': 32, 'intermediate_size': 48, 'num_hidden_layers': 2,
  'num_attention_heads': 4, 'num_key_value_heads': 2, 'head_dim': 16, 'sliding_window': 6, 'rope_theta': 10000.0,
  'attn_logit_softcapping': 50.0, 'final_logit_softcapping': 30.0, 'query_pre_attn_scalar': 16, 'rms_norm_eps': 1e-6,
  'layer_types': ['sliding_attention', 'full_attention'], 'hidden_activation': 'gelu_pytorch_tanh', 'eos_token_id': [1],
}  # fmt: skip


def lines(*rows: Any) -> bytes:
  """JSON lines."""
  return b''.join((records.to_json(r) if not isinstance(r, dict) else json.dumps(r)).encode() + b'\n' for r in rows)


def _rows(row: Any) -> Reader:
  def read(folder: Path, data: bytes) -> None:
    (folder / 'rows.jsonl').write_bytes(data)
    for found in records.read(type(row), folder / 'rows.jsonl'):
      assert type(found) is type(row)
      records.to_json(found).encode()  # What was taken in can be written again.

  return Reader(lambda: lines(row, row, row), read, (RecordError,))


def _samples(folder: Path, data: bytes) -> None:
  path = epath.Path(folder) / layout.numbered(layout.CHUNKS, 0)
  path.write_bytes(data)
  names = [SAMPLE.problem_id, 'b', 'none']
  for name, found in zip(names, ByProblem(Sample, [path]).read(names), strict=True):
    for row in found:
      assert row.problem_id == name and all(isinstance(t, int) for t in row.tokens)


def _some_samples() -> bytes:
  return lines(SAMPLE, Sample('b', 0, '', (), 'length', 0.0), SAMPLE)


def _lengths(folder: Path, data: bytes) -> None:
  """As many ids as `records.read` finds, where that takes the file."""
  path = epath.Path(folder) / layout.numbered(layout.CHUNKS, 0)
  path.write_bytes(data)
  try:
    wanted = [(s.problem_id, s.index, len(s.tokens)) for s in records.read(Sample, path)]
  except RecordError:
    wanted = None  # Nothing to compare with: `lengths` does not look at texts.
  found = list(records.lengths(path))
  assert wanted is None or found == wanted


def _store(folder: Path, data: bytes) -> None:
  (folder / layout.numbered(layout.CHUNKS, 0)).write_bytes(data)
  Store(epath.Path(folder)).by_problem().indices('b')


def _ledger(folder: Path, data: bytes) -> None:
  (folder / ENTRY.file).write_text('')
  (folder / layout.numbered(layout.LEDGERS, 0)).write_bytes(data)
  ledger.by_model(ledger.read(folder))


def _manifest(folder: Path, data: bytes) -> None:
  (folder / layout.MANIFEST).write_bytes(data)
  found = manifest.read(epath.Path(folder), '.')
  if found is not None:
    assert isinstance(found.version, str) and isinstance(found.inputs, dict) and isinstance(found.done, bool)
    manifest.far_enough(found.extent, {'count': 3})


def _whole_manifest() -> bytes:
  with tempfile.TemporaryDirectory() as folder:
    manifest.write(epath.Path(folder), 'x', MANIFEST)
    return json.dumps(json.loads((Path(folder) / 'x' / layout.MANIFEST).read_text())).encode()


def _pairs(folder: Path, data: bytes) -> None:
  (folder / layout.numbered(layout.PAIRS, 0)).write_bytes(data)
  assert all(isinstance(o.equal, bool) for o in grading.SecondOpinions(epath.Path(folder))._known.values())


def _table(folder: Path, data: bytes) -> None:
  Table.from_json(data)


def _survey(name: str, folder: Path, data: bytes) -> None:
  (folder / name).write_bytes(data)
  recording = recorded.open_recording(str(folder / name), {}, lambda text, finish: [0] * len(text.split()))
  found = recording.survey(ASKED)
  list(recording.samples(ASKED, {(p, i) for p, count in found.counts.items() for i in range(count)}))


def _packed(read: Callable[[Path, bytes], None], folder: Path, data: bytes) -> None:
  read(folder, gzip.compress(data, 1, mtime=0))


def _parquet() -> bytes:
  file = io.BytesIO()
  rows = [{'id': name, 'completion': ' 5', 'completion_tokens': 3} for name in 'ab']
  parquet.write_table(pa.Table.from_pylist(rows), file)
  return file.getvalue()


def _own(answer: str, pack: bool = False) -> Reader:
  rows = [{'id': f'{kind} {i}', **row} for i in range(4) for kind, row in PROBLEMS.items() if kind == answer or not i]
  read = functools.partial(_problems, answer)
  return Reader(lambda: lines(*rows), functools.partial(_packed, read) if pack else read, (TaskError, RecordError))


def _problems(answer: str, folder: Path, data: bytes) -> None:
  (folder / 'p.jsonl').write_bytes(data)
  own = Own(files={'all': 'p.jsonl'}, answer=answer, fields={}, shots=0)
  task = jsonl.kind(own)(epath.Path(folder), own)
  for problem in task.problems('train', 1, 0):
    task.prompt(problem).encode()


def _vocabulary(folder: Path, data: bytes) -> None:
  tokenizer = Tokenizer.from_bytes(data)
  assert all(0 <= i < tokenizer.vocab_size for i in tokenizer.encode('tom has 5 apples . how many ? \u2028 é'))
  tokenizer.decode(range(min(50, tokenizer.vocab_size)))
  tokenizer.pieces()
  json.dumps(huggingface_tokenizer.tokenizer_json(tokenizer)).encode()


def _embedded() -> bytes:
  return (importlib.resources.files('sweb_jax') / 'models/embedded/wc/tokenizer.model').read_bytes()


def _config(folder: Path, data: bytes) -> None:
  (folder / layout.CONFIG).write_bytes(data)
  found = huggingface_config.read(folder)
  assert 0 < found.layers <= 1000


def _safetensors(folder: Path, data: bytes) -> None:
  (folder / 'model.safetensors').write_bytes(data)
  for entry in tensor_file.entries(folder / 'model.safetensors').values():
    assert all(n >= 0 for n in entry.shape)


def _tensors() -> bytes:
  said = {name: {'dtype': 'F32', 'shape': [2, 2], 'data_offsets': [16 * i, 16 * i + 16]} for i, name in enumerate('ab')}
  header = json.dumps(said).encode()
  return struct.pack('<Q', len(header)) + header + bytes(32)


def _gguf(folder: Path, data: bytes) -> None:
  (folder / 'm.gguf').write_bytes(data)
  config, vocabulary = gguf_reader.read_header(folder / 'm.gguf')
  assert 0 < config.layers <= 1000 and isinstance(vocabulary, bytes)


def _gguf_file() -> bytes:
  special = ['<pad>', '<eos>', '<bos>', '<unk>']
  words = ['h', 'e', 'y', '\u2581', 'he', 'hey', '\u2581hey']
  pieces = [*special, *words, *[f'<0x{i:02X}>' for i in range(256)]]
  types = [*[proto.CONTROL] * 3, proto.UNKNOWN, *[proto.NORMAL] * len(words), *[proto.BYTE] * 256]
  ids = {'pad': 0, 'eos': 1, 'bos': 2, 'unk': 3}
  tokenizer = Tokenizer.from_bytes(proto.build_bpe(pieces, [-float(i) for i in range(len(pieces))], types, ids))
  config = ModelConfig(len(pieces), 32, 32, 1, 1, 1, 32, pattern=('local',), window=8, qk_norm=True)
  params = jax.tree.map(lambda x: np.zeros(x.shape, np.float32), transformer.shapes(config))
  with tempfile.TemporaryDirectory() as folder:
    path = epath.Path(folder) / 'm.gguf'
    gguf_writer.save(path, config, params, tokenizer)
    return path.read_bytes()


def _recorded(name: str, pack: bool = False) -> Reader:
  survey = functools.partial(_survey, name)
  read = functools.partial(_packed, survey) if pack else survey
  return Reader(lambda: lines(*DRAWN), read, (RecordError,))


READERS: Mapping[str, Reader] = {
  **{f'rows-{type(row).__name__.lower()}': _rows(row) for row in (PROBLEM, SAMPLE, VERDICT, EXAMPLE, OPINION)},
  'samples-by-problem': Reader(_some_samples, _samples, (RecordError,)),
  'samples-lengths': Reader(_some_samples, _lengths, (RecordError,)),
  'samples-store': Reader(_some_samples, _store, (RecordError,)),
  'ledger': Reader(lambda: (json.dumps(vars(ENTRY)).encode() + b'\n') * 2, _ledger, (BudgetError,)),
  'manifest': Reader(_whole_manifest, _manifest),
  'pairs': Reader(lambda: b'["1/2", "0.5", true, "equal"]\n["2", "3", false, "not equal"]\n', _pairs),
  'table': Reader(
    lambda: Table('n', 't', ('a', 'b'), (('x', 1), (None, 0.5)), 'note').json().encode(), _table, (ValueError,)
  ),
  'recorded': _recorded('drawn.jsonl'),
  'recorded-packed': _recorded('drawn.jsonl', pack=True),
  'recorded-gzip': Reader(
    lambda: gzip.compress(lines(*DRAWN), 1, mtime=0), functools.partial(_survey, 'drawn.jsonl'), (RecordError,)
  ),
  'recorded-parquet': Reader(_parquet, functools.partial(_survey, 'drawn.parquet'), (RecordError,)),
  **{f'problems-{answer}': _own(answer) for answer in PROBLEMS},
  'problems-packed': _own('number', pack=True),
  'vocabulary': Reader(_embedded, _vocabulary, (TokenizerError,)),
  'huggingface-config': Reader(lambda: json.dumps(HUGGING_FACE).encode(), _config, (CheckpointError,)),
  'safetensors': Reader(_tensors, _safetensors, (CheckpointError,)),
  'gguf': Reader(_gguf_file, _gguf, (CheckpointError,)),
}
"""By name."""


ODD: Sequence[Any] = (
  None, True, -1, 10**20, 10**400, 1.5, float('nan'), float('inf'), '', 'x', '\ud800', [], {}, [None], {'a': 1},
  '9' * 5000, 1 << 31, -(1 << 63), [[[[]]]], 'null',
)  # fmt: skip
"""Values in place of others."""
RAW = (
  b'null', b'[]', b'{}', b'0', b'"x"', b'[' * 50_000, b'{"a":' * 50_000, b'\xff\xfe', b'\x00', b'\xed\xa0\x80',
  b'9' * 5000, b'\n', b'\r', b'{"problem_id": "\\u12", "index": 1, "a": 1}',
  b'{"problem_id": "a", "index": 99999999999999999999, "b": 1}',
  b'-', b', ', b'"\\ud800"', b'NaN', b'\xe2\x80\xa8', b'1e999', b'{"problem_id": "a", "index": 1, "tokens": [1,,2]}',
)  # fmt: skip
"""What is put between bytes, and in place of lines."""


def damage(rng: random.Random, sound: bytes) -> bytes:
  """A file with a field of another value or name, bytes changed, put in or left out, or its end cut off."""
  kind = rng.choice(('value', 'name', 'bytes', 'put', 'out', 'cut', 'double', 'line'))
  lines = sound.splitlines(keepends=True)
  if kind in ('value', 'name', 'line') and lines:
    at = rng.randrange(len(lines))
    if kind == 'line':
      lines[at] = rng.choice(RAW) + b'\n'
    elif (row := _row(lines[at])) is not None:
      place = row
      while True:  # Into what is nested, as far as it goes.
        name = rng.choice(sorted(place) if isinstance(place, dict) else range(len(place)))
        if not (isinstance(place[name], dict | list) and place[name] and rng.random() < 0.5):
          break
        place = place[name]
      if kind == 'value' or isinstance(place, list):
        place[name] = rng.choice(ODD)
      else:
        place[rng.choice(('x', '', 'index', 'tokens'))] = place.pop(name)
      lines[at] = json.dumps(row).encode() + b'\n'
    return b''.join(lines)
  at = rng.randrange(max(1, len(sound)))
  if kind == 'cut':
    return sound[:at]
  if kind == 'double':
    return sound[at:] + sound
  end = at + rng.randint(1, 4)
  raw = rng.choice(RAW) if rng.random() < 0.5 else bytes(rng.randrange(256) for _ in range(rng.randint(1, 4)))
  return sound[:at] + (b'' if kind == 'out' else raw) + sound[at if kind == 'put' else end :]


def _row(line: bytes) -> dict | None:
  try:
    row = json.loads(line)
  except (ValueError, RecursionError):
    return None
  return row if isinstance(row, dict) and row else None
