"""Stop strings as an automaton over tokens, so that the device ends a row at the very token that completes one."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from jaxtyping import Int


def table(pieces: Sequence[bytes], stop_strings: Sequence[str]) -> Int[np.ndarray, 'Q V']:
  """The state after each token in each state, by the string matching machine of Aho and Corasick (1975).

  A state is the longest end of the text so far that begins a stop string; state 0 is none, the last state is final:
  a stop string was completed. A stop string may begin and end inside tokens.

  Args:
    pieces: what each token adds to the text, in UTF-8; empty for control tokens.
    stop_strings: at least one, none empty.

  Raises:
    ValueError: an empty stop string, or more than 30,000 bytes of them.
  """
  stops = [s.encode() for s in stop_strings]
  if not stops or not all(stops):
    raise ValueError(f'stop_strings={list(stop_strings)}: there must be at least one, and none may be empty')
  heads = sorted({s[:i] for s in stops for i in range(len(s))}, key=lambda h: (len(h), h))
  final = len(heads)
  if final > 30_000:
    raise ValueError(f'stop_strings hold {final} bytes; at most 30,000 fit')
  number = {h: i for i, h in enumerate(heads)}

  def after(head: bytes, byte: int) -> int:
    text = head + bytes([byte])
    if any(text.endswith(s) for s in stops):
      return final
    return next(number[text[i:]] for i in range(len(text) + 1) if text[i:] in number)

  by_byte = np.array([[after(h, b) for b in range(256)] for h in heads] + [[final] * 256], np.int16)
  out = np.repeat(np.arange(final + 1, dtype=np.int16)[:, None], len(pieces), axis=1)
  text, length = np.frombuffer(b''.join(pieces), np.uint8), np.fromiter(map(len, pieces), int, len(pieces))
  start = length.cumsum() - length
  for at in range(length.max(initial=0)):  # Byte number `at` of every piece that has one.
    (left,) = np.nonzero(length > at)
    out[:, left] = by_byte[out[:, left], text[start[left] + at]]
  return out
