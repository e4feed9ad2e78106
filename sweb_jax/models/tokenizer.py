"""Text to ids and back, over the sentencepiece library, and word-level models for made worlds."""

from __future__ import annotations

import dataclasses
import functools
import hashlib
import io
import os
import struct
from collections.abc import Sequence

import sentencepiece
from etils import epath

from sweb_jax.models import reading, sentencepiece_proto
from sweb_jax.models.reading import CheckpointError
from sweb_jax.models.sentencepiece_proto import TURNS, Vocabulary
from sweb_jax.runtime import files

_MAX_BYTES = 50_000_000
"""Of a `tokenizer.model`; Gemma's have 4 to 5 million."""
_CONTROL = ('<pad>', '<eos>', '<bos>', '<unk>')  # In the order of their ids, as in Gemma.


class TokenizerError(CheckpointError):
  """Not a usable SentencePiece model, or ids or words it cannot hold; the message names the file, id or word."""


@dataclasses.dataclass(frozen=True)
class Tokenizer:
  """A SentencePiece model.

  `encode` adds no control token and `decode` skips them, so for text that the vocabulary covers
  `decode(encode(text)) == text`. A control token written out in a text is read as plain characters.
  """

  model: bytes = dataclasses.field(repr=False)
  """The serialised ModelProto: the content of a `tokenizer.model`."""
  name: str = dataclasses.field(default='tokenizer', compare=False)
  """Where the model came from, for messages."""

  vocab_size: int = dataclasses.field(init=False, compare=False)
  """Number of pieces; a model's embedding may have more rows, which `decode` refuses."""
  pad_id: int = dataclasses.field(init=False, compare=False)
  eos_id: int = dataclasses.field(init=False, compare=False)
  bos_id: int = dataclasses.field(init=False, compare=False)
  fingerprint: str = dataclasses.field(init=False, compare=False)
  """16 hexadecimal digits of the SHA-256 of `model`."""
  _pieces: sentencepiece.SentencePieceProcessor = dataclasses.field(init=False, repr=False, compare=False)

  def __post_init__(self):
    try:
      pieces = _processor(self.model)
    except (RuntimeError, UnicodeDecodeError) as e:
      raise TokenizerError(f'{self.name}: not a SentencePiece model: {reading.brief(e)}') from e
    ids = {'pad_id': pieces.pad_id(), 'eos_id': pieces.eos_id(), 'bos_id': pieces.bos_id()}
    if absent := [name for name, i in ids.items() if i < 0]:
      raise TokenizerError(
        f'{self.name}: no {", ".join(absent)}: train it with pad_id=0, eos_id=1, bos_id=2, unk_id=3'
      )
    fingerprint = hashlib.sha256(self.model).hexdigest()[:16]
    for key, value in dict(ids, vocab_size=pieces.vocab_size(), fingerprint=fingerprint, _pieces=pieces).items():
      object.__setattr__(self, key, value)  # The class is frozen for everyone else.

  @classmethod
  def from_file(cls, path: epath.PathLike) -> Tokenizer:
    """Reads a `tokenizer.model`, local or on an object store. Raises TokenizerError."""
    try:
      model = reading.read_file(path, _MAX_BYTES)
    except CheckpointError as e:
      raise TokenizerError(f'{e}: a model needs its SentencePiece model') from e
    return cls(model, name=os.fspath(path))

  @classmethod
  def from_bytes(cls, model: bytes) -> Tokenizer:
    """Takes a serialised ModelProto, as `train_words` and `gguf_reader.read` give. Raises TokenizerError."""
    return cls(model)

  def save(self, path: epath.PathLike) -> None:
    """Writes the model to `path`; whole or not there."""
    files.write_bytes(path, self.model)

  def encode(self, text: str) -> list[int]:
    """The ids of `text`, without BOS and EOS."""
    return self._pieces.encode(text)

  def encode_all(self, texts: Sequence[str]) -> list[list[int]]:
    """`encode` of each text, on all cores."""
    return self._pieces.encode(list(texts), num_threads=os.cpu_count() or 1)

  def decode(self, ids: Sequence[int]) -> str:
    """The text of `ids`, control tokens skipped. Raises TokenizerError for an id outside the vocabulary."""
    ids = list(map(int, ids))
    if ids and not (min(ids) >= 0 and max(ids) < self.vocab_size):
      outside = next(i for i in ids if not 0 <= i < self.vocab_size)
      raise TokenizerError(f'{self.name}: id {outside} is outside the vocabulary of {self.vocab_size} pieces')
    return self._pieces.decode(ids)

  def turn_ids(self) -> tuple[int, int]:
    """The ids of the marks that begin and end a chat turn. Raises TokenizerError where the vocabulary has none."""
    for marks in TURNS:
      ids = tuple(self._pieces.PieceToId(mark) for mark in marks)
      if self._pieces.unk_id() not in ids:
        return ids
    known = ', nor '.join(' and '.join(marks) for marks in TURNS)
    raise TokenizerError(f'{self.name}: it has no {known}: not a vocabulary for chat turns')

  def vocabulary(self) -> Vocabulary:
    """What the model says of its pieces. Raises TokenizerError where it holds what SentencePiece passes over."""
    try:
      return sentencepiece_proto.parse(self.model)
    except (ValueError, KeyError, TypeError, IndexError, struct.error) as e:
      raise TokenizerError(f'{self.name}: some fields are not of the kind that SentencePiece writes') from e

  def pieces(self) -> list[bytes]:
    """What each id adds to a text, in UTF-8: nothing for control tokens, one byte for byte tokens."""
    proto = self._pieces
    out = []
    for i, piece in enumerate(proto.IdToPiece(list(range(self.vocab_size)))):
      if proto.IsControl(i) or proto.IsUnused(i):
        out.append(b'')
      elif proto.IsByte(i):
        out.append(bytes([int(piece[3:5], 16)]))  # '<0x0A>'
      else:
        out.append(piece.replace('\u2581', ' ').encode())
    return out


@functools.lru_cache(maxsize=8)
def _processor(model: bytes) -> sentencepiece.SentencePieceProcessor:
  """Of equal models one: a study's models mostly have one vocabulary, and Gemma's takes 50 MB."""
  pieces = sentencepiece.SentencePieceProcessor()
  pieces.LoadFromSerializedProto(model)
  pieces.IdToPiece(list(range(pieces.vocab_size())))  # Raises UnicodeDecodeError where one is no text.
  return pieces


def train_words(words: Sequence[str]) -> bytes:
  """A word-level SentencePiece model in which every word has its own id.

  Ids: pad 0, eos 1, bos 2, unk 3, then the words in the order of their code points, whatever order they are given
  in; the same words always give the same bytes. Text is words with one space between them.

  Raises:
    TokenizerError: a word is empty, given twice, holds white space, or is one SentencePiece keeps for itself.
  """
  if not words:
    raise TokenizerError('no words given: a word-level tokenizer needs at least one')
  if len(set(words)) < len(words):
    twice = next(w for i, w in enumerate(words) if w in words[:i])
    raise TokenizerError(f'the word {twice!r} is given twice')
  for word in words:
    # U+2581 stands for a space inside SentencePiece, U+2585 for an unknown character while training.
    if word in _CONTROL or word.split() != [word] or {'\u2581', '\u2585', '\0'} & set(word):
      raise TokenizerError(f'{word!r} cannot be a word: empty, white space inside, or kept by SentencePiece')
  pad, eos, bos, unk = _CONTROL
  buffer = io.BytesIO()
  sentencepiece.SentencePieceTrainer.train(
    sentence_iterator=iter(words),  # Each word once: among equal counts the trainer sorts by code points.
    model_writer=buffer,
    model_type='word',
    vocab_size=len(words) + len(_CONTROL),
    pad_id=0,
    eos_id=1,
    bos_id=2,
    unk_id=3,
    pad_piece=pad,
    eos_piece=eos,
    bos_piece=bos,
    unk_piece=unk,
    normalization_rule_name='identity',
    character_coverage=1.0,
    max_sentence_length=1 << 20,  # Longer words would be dropped without an error.
    num_threads=1,
    minloglevel=2,
  )
  return buffer.getvalue()
