"""The automaton that ends a row at a stop string, against searching the decoded text."""

from __future__ import annotations

import os
import pathlib
import random

import numpy as np
import pytest

from sweb_jax.models.tokenizer import Tokenizer
from sweb_jax.sampling import stops

WORDS = [b'', b'a', b'b', b'ab', b'aab', b'ba', b'\n', b'\n\n', b'.\n', b'\nb', '\u00e9'.encode(), b'\xc3', b'\xa9']


def first_end(table: np.ndarray, tokens: list[int]) -> int | None:
  """How many tokens it takes to reach the final state."""
  state = 0
  for i, t in enumerate(tokens, 1):
    state = int(table[state, t])
    if state == len(table) - 1:
      return i
  return None


@pytest.mark.parametrize('strings', [('\n\n',), ('aab',), ('abab', 'bb'), ('a', '\n\nb'), ('\u00e9',), ('aaba', 'ab')])
def test_a_row_ends_with_the_token_whose_text_completes_a_stop_string(strings):
  table = stops.table(WORDS, strings)
  draw = random.Random(0)
  ended = 0
  for _ in range(500):
    tokens = draw.choices(range(len(WORDS)), k=draw.randrange(1, 12))
    heads = [b''.join(WORDS[t] for t in tokens[:i]) for i in range(1, len(tokens) + 1)]
    ends = [i for i, head in enumerate(heads, 1) if any(s.encode() in head for s in strings)]
    assert first_end(table, tokens) == (ends[0] if ends else None)
    ended += bool(ends)
  assert 0 < ended < 500


@pytest.mark.parametrize('strings', [(), ('\n', '')])
def test_a_stop_string_that_is_empty_is_refused(strings):
  with pytest.raises(ValueError, match='none may be empty'):
    stops.table(WORDS, strings)


DATA = os.environ.get('SWEB_TEST_DATA', pathlib.Path(__file__).parents[3] / 'shared/data')
TOKENIZERS = pathlib.Path(DATA) / 'tokenizers'


@pytest.mark.skipif(not TOKENIZERS.exists(), reason='no Gemma vocabularies at hand')
def test_pieces_of_a_gemma_vocabulary_are_what_it_decodes_to():
  for path in sorted(TOKENIZERS.glob('*.model')):
    tokenizer = Tokenizer.from_file(path)
    pieces = tokenizer.pieces()
    text = 'Ann has 12 apples.\n\n  She eats\n3 — how many\tare left? \u4e09\U0001f600\n\nQuestion: x'
    ids = tokenizer.encode(text)
    assert b''.join(pieces[i] for i in ids).decode() == text == tokenizer.decode(ids)
    table = stops.table(pieces, ('\n\n', 'Question:'))
    end = first_end(table, ids)
    assert '\n\n' in tokenizer.decode(ids[:end]) and '\n\n' not in tokenizer.decode(ids[: end - 1])
