"""The few fields of a SentencePiece ModelProto that importing and exporting vocabularies need, read and written.

By hand, because the class that comes with sentencepiece loads with some versions of protobuf only. Numbers are those of
sentencepiece_model.proto and of the protocol buffers encoding.
"""

from __future__ import annotations

import dataclasses
import enum
import struct
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

NORMAL, UNKNOWN, CONTROL, USER_DEFINED, UNUSED, BYTE = 1, 2, 3, 4, 5, 6
"""Types of pieces; GGUF's are the same."""
UNIGRAM, BPE, WORD, CHAR = 1, 2, 3, 4
"""Types of models."""
TURNS = (('<start_of_turn>', '<end_of_turn>'), ('<|turn>', '<turn|>'))
"""What begins and ends a chat turn: in vocabularies up to Gemma 3, and in Gemma 4's."""
TURN_MARKS = sum(TURNS, ())


class _Wire(enum.IntEnum):
  """How a field is written."""

  VARINT, FIXED_64, LENGTH, FIXED_32 = 0, 1, 2, 5


@dataclasses.dataclass(frozen=True)
class Vocabulary:
  """What a ModelProto says."""

  pieces: tuple[str, ...]
  """In the order of their ids; a space is U+2581."""
  scores: tuple[float, ...]
  types: tuple[int, ...]
  model_type: int
  byte_fallback: bool
  character_map: bool
  """Whether characters are replaced by others before anything else (NFKC and the like)."""
  add_dummy_prefix: bool
  remove_extra_whitespaces: bool


def parse(model: bytes) -> Vocabulary:
  """Reads a serialised ModelProto, one that the sentencepiece library has taken.

  What has a known number and another wire type is passed over, as protocol buffers do it. Raises ValueError where
  there is a group, which this encoding has no longer.
  """
  pieces, scores, types = [], [], []
  trainer, normalizer = {}, {}
  for number, wire, value in _fields(model):
    match number, wire:
      case 1, _Wire.LENGTH:
        piece = _known(value, {1: _Wire.LENGTH, 2: _Wire.FIXED_32, 3: _Wire.VARINT})
        pieces.append(piece.get(1, b'').decode())
        scores.append(struct.unpack('<f', piece.get(2, bytes(4)))[0])
        types.append(piece.get(3, NORMAL))
      case 2, _Wire.LENGTH:
        trainer |= _known(value, {3: _Wire.VARINT, 35: _Wire.VARINT})
      case 3, _Wire.LENGTH:
        normalizer |= _known(value, {2: _Wire.LENGTH, 3: _Wire.VARINT, 4: _Wire.VARINT})
  return Vocabulary(
    tuple(pieces),
    tuple(scores),
    tuple(types),
    model_type=trainer.get(3, UNIGRAM),
    byte_fallback=bool(trainer.get(35, 0)),
    character_map=bool(normalizer.get(2)),
    add_dummy_prefix=bool(normalizer.get(3, 1)),
    remove_extra_whitespaces=bool(normalizer.get(4, 1)),
  )


def build_bpe(
  pieces: Sequence[str], scores: Sequence[float], types: Sequence[int], ids: Mapping[str, int]
) -> bytes:
  """A ModelProto as Gemma's: byte-pair merges in the order of the scores, unknown characters as bytes, no changes of
  white space.

  Args:
    pieces: in the order of their ids.
    scores: of each piece.
    types: of each piece.
    ids: of 'unk', 'bos', 'eos' and 'pad'.
  """
  trainer = _field(3, BPE) + _field(4, len(pieces)) + _field(35, 1)  # model_type, vocab_size, byte_fallback
  for number, name in enumerate(('unk', 'bos', 'eos', 'pad')):
    trainer += _field(40 + number, ids[name]) + _field(45 + number, pieces[ids[name]])  # {name}_id, {name}_piece
  # name, add_dummy_prefix, remove_extra_whitespaces, escape_whitespaces
  normalizer = _field(1, 'identity') + _field(3, 0) + _field(4, 0) + _field(5, 1)
  table = [
    _field(1, _field(1, piece) + _field(2, float(score)) + _field(3, kind))
    for piece, score, kind in zip(pieces, scores, types, strict=True)
  ]
  return b''.join([*table, _field(2, trainer), _field(3, normalizer)])


def _known(message: bytes, types: Mapping[int, int]) -> dict[int, Any]:
  """The fields of these numbers and wire types; of several of a number the last."""
  return {number: value for number, wire, value in _fields(message) if types.get(number) == wire}


def _fields(message: bytes) -> Iterator[tuple[int, int, int | bytes]]:
  """(number, wire type, value) of each field: a varint as int, everything else as bytes."""
  at = 0
  while at < len(message):
    key, at = _read_varint(message, at)
    number, wire = key >> 3, key & 7
    if wire == _Wire.VARINT:
      value, at = _read_varint(message, at)
    else:
      if wire == _Wire.LENGTH:
        size, at = _read_varint(message, at)
      elif wire in (_Wire.FIXED_64, _Wire.FIXED_32):
        size = 8 if wire == _Wire.FIXED_64 else 4
      else:
        raise ValueError(f'field {number} is of wire type {wire}, which is not read')
      value, at = message[at : at + size], at + size
    yield number, wire, value


def _read_varint(data: bytes, at: int) -> tuple[int, int]:
  value = shift = 0
  while True:
    byte = data[at]
    value |= (byte & 0x7F) << shift
    at, shift = at + 1, shift + 7
    if byte < 0x80:
      return value, at


def _field(number: int, value: int | float | str | bytes) -> bytes:
  """One field of a message: varint, 32-bit float, or length and bytes."""
  if isinstance(value, int):
    return _varint(number << 3) + _varint(value)
  if isinstance(value, float):
    return _varint(number << 3 | 5) + struct.pack('<f', value)
  value = value.encode() if isinstance(value, str) else value
  return _varint(number << 3 | 2) + _varint(len(value)) + value


def _varint(value: int) -> bytes:
  out = bytearray()
  while value > 0x7F:
    out.append(value & 0x7F | 0x80)
    value >>= 7
  return bytes([*out, value])
