from __future__ import annotations

import dataclasses
import gzip
import io
import json
import os
import pathlib
import pickle

import pytest
import sentencepiece

from sweb_jax.models import sentencepiece_proto as proto
from sweb_jax.models.tokenizer import Tokenizer, TokenizerError, train_words

WORDS = ('tom', 'has', '11', 'apples', '.', '?', 'A:', '####', '=', 'zürich', '+', 'how', 'many')


@pytest.fixture(scope='module')
def words() -> Tokenizer:
  return Tokenizer.from_bytes(train_words(WORDS))


def real(name: str) -> Tokenizer:
  """A real vocabulary from the folder of test data."""
  root = pathlib.Path(__file__).resolve().parents[2]
  path = pathlib.Path(os.environ.get('SWEB_TEST_DATA', root / '../shared/data')) / 'tokenizers' / name
  if not path.exists():
    pytest.skip(f'{path} is not there (SWEB_TEST_DATA)')
  return Tokenizer.from_bytes(gzip.decompress(path.read_bytes()))


def test_every_word_has_its_own_id_after_the_control_tokens(words):
  ids = [words.encode(word) for word in WORDS]
  assert sorted(ids) == [[i] for i in range(4, 4 + len(WORDS))]
  assert (words.pad_id, words.eos_id, words.bos_id, words.vocab_size) == (0, 1, 2, 4 + len(WORDS))


def test_words_are_numbered_by_code_point_whatever_order_they_come_in(words):
  assert train_words(WORDS[::-1]) == words.model
  assert [words.encode(word) for word in sorted(WORDS)] == [[i] for i in range(4, 4 + len(WORDS))]


def test_text_of_known_words_survives_the_round_trip(words):
  text = 'how many apples has tom ? A: 11 + 11 = 11 . #### zürich'
  assert words.decode(words.encode(text)) == text


def test_an_unknown_word_is_unk_and_does_not_swallow_its_neighbours(words):
  ids = words.encode('tom sobes apples')
  assert ids == [*words.encode('tom'), 3, *words.encode('apples')]
  assert len(words.encode('apple')) == 1 and words.encode('apple') == [3]


def test_encode_adds_no_control_token_and_decode_skips_them(words):
  assert words.encode('') == []
  ids = words.encode('tom has 11')
  assert not {words.bos_id, words.eos_id, words.pad_id} & set(ids)
  assert words.decode([words.bos_id, *ids, words.eos_id, words.pad_id, words.pad_id]) == 'tom has 11'


def test_a_control_token_written_in_a_text_is_not_one(words):
  assert words.eos_id not in words.encode('tom <eos> has')
  assert real('gemma3_rebuilt.model.gz').eos_id not in real('gemma3_rebuilt.model.gz').encode('tom<eos> has')


@pytest.mark.parametrize('bad', [(), ('a', 'a'), ('a', ''), ('a b',), ('a\n',), ('▁a',), ('▅',), ('<eos>',), ('a\0',)])
def test_words_that_could_not_get_an_id_are_refused(bad):
  with pytest.raises(TokenizerError, match='word'):
    train_words(bad)


def test_the_word_at_fault_is_named():
  with pytest.raises(TokenizerError, match="'seven'"):
    train_words(['one', 'seven', 'two', 'seven'])


def test_words_of_any_length_and_script_are_kept():
  odd = ['x' * 5000, '<0x0A>', '</s>', '\u00e9', 'e\u0301', '\ufb01', '数', '①', "don't", '\\boxed{1}', '🙂']
  tokenizer = Tokenizer.from_bytes(train_words(odd))
  assert tokenizer.vocab_size == 4 + len(odd)
  assert all(tokenizer.decode(tokenizer.encode(f'{word} 数')) == f'{word} 数' for word in odd)


def test_save_then_from_file_gives_the_same_tokenizer(words, tmp_path):
  words.save(tmp_path / 'tokenizer.model')
  back = Tokenizer.from_file(tmp_path / 'tokenizer.model')
  assert back == words and back.fingerprint == words.fingerprint
  assert [p.name for p in tmp_path.iterdir()] == ['tokenizer.model']


def test_the_fingerprint_follows_the_content(words):
  assert len(words.fingerprint) == 16
  assert words.fingerprint != Tokenizer.from_bytes(train_words([*WORDS, 'pears'])).fingerprint


def test_it_is_frozen_and_can_be_sent_to_another_process(words):
  with pytest.raises(dataclasses.FrozenInstanceError):
    words.eos_id = 7
  back = pickle.loads(pickle.dumps(words))
  assert back == words and back.encode('tom has') == words.encode('tom has')


def test_a_missing_file_is_named(tmp_path):
  with pytest.raises(TokenizerError, match=r'nowhere\.model'):
    Tokenizer.from_file(tmp_path / 'nowhere.model')


@pytest.mark.parametrize('content', [b'', b'not a model', b'\x00' * 100])
def test_a_file_that_is_not_sentencepiece_is_named(tmp_path, content):
  (tmp_path / 'odd.model').write_bytes(content)
  with pytest.raises(TokenizerError, match=r'odd\.model: not a SentencePiece model'):
    Tokenizer.from_file(tmp_path / 'odd.model')


@pytest.mark.parametrize('absent', ['pad_id', 'eos_id', 'bos_id'])
def test_a_model_without_a_control_token_is_refused(absent):
  present = [name for name in ('unk_id', 'pad_id', 'eos_id', 'bos_id') if name != absent]
  ids = {name: i for i, name in enumerate(present)} | {absent: -1}
  buffer = io.BytesIO()
  sentencepiece.SentencePieceTrainer.train(
    sentence_iterator=iter(['a', 'b']), model_writer=buffer, model_type='word', vocab_size=5, minloglevel=2,
    **ids,
  )
  with pytest.raises(TokenizerError, match=f'no {absent}'):
    Tokenizer.from_bytes(buffer.getvalue())


@pytest.mark.parametrize('number', [1, 2, 3])
def test_what_sentencepiece_passes_over_in_a_model_is_passed_over(words, number):
  """A field of another wire type than its own; `_field` writes a varint of an int, and four bytes of a float."""
  for value in (7, 0.5):
    model = words.model + proto._field(number, value)
    assert sentencepiece.SentencePieceProcessor(model_proto=model).vocab_size() == words.vocab_size
    assert Tokenizer.from_bytes(model).vocabulary() == words.vocabulary()


def test_a_group_in_a_model_is_refused(words):
  model = words.model + bytes([200 << 3 & 0x7F | 0x80 | 3, 200 << 3 >> 7, 200 << 3 & 0x7F | 0x80 | 4, 200 << 3 >> 7])
  with pytest.raises(TokenizerError, match='some fields are not of the kind that SentencePiece writes'):
    Tokenizer.from_bytes(model).vocabulary()


@pytest.mark.parametrize('outside', [-1, 17])
def test_an_id_outside_the_vocabulary_is_named(words, outside):
  with pytest.raises(TokenizerError, match=f'id {outside} is outside the vocabulary of 17'):
    words.decode([4, outside])


def test_gemma_2_gives_the_ids_its_documentation_prints():
  tokenizer = real('gemma2_rebuilt.model.gz')
  assert tokenizer.encode('Hello world!') == [4521, 2134, 235341]
  assert (tokenizer.pad_id, tokenizer.eos_id, tokenizer.bos_id, tokenizer.vocab_size) == (0, 1, 2, 256_000)


def test_gemma_3_round_trips_white_space_and_unseen_characters():
  tokenizer = real('gemma3_rebuilt.model.gz')
  for text in (' a  b\n\n\tc ', '  ', '𒀀 ß 1234', json.dumps({'x': [1.5, None]})):
    assert tokenizer.decode(tokenizer.encode(text)) == text
