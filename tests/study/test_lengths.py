"""Lengths in tokens are found once for a workdir, and are never those of other texts."""

from __future__ import annotations

import pytest
from etils import epath

from sweb_jax import layout
from sweb_jax.models.tokenizer import Tokenizer, train_words
from sweb_jax.study.lengths import Lengths
from sweb_jax.tasks.rendering import Renderer

PROMPTS, SOLUTIONS = ['red', 'red blue', 'blue blue red'], ['blue']
RENDERER = Renderer(Tokenizer.from_bytes(train_words(['red', 'blue'])))


@pytest.fixture
def encoded(monkeypatch):
  """What has been encoded."""
  texts, encode_all = [], Tokenizer.encode_all
  monkeypatch.setattr(Tokenizer, 'encode_all', lambda self, some: texts.extend(some) or encode_all(self, some))
  return texts


def asked(root, prompts=PROMPTS, renderer=RENDERER):
  lengths = Lengths(epath.Path(root))
  found = lengths.prompts(renderer, prompts), lengths.solutions(renderer, SOLUTIONS)
  assert found == ([len(ids) for ids in renderer.prompts(prompts)], [2])
  return lengths


def test_what_the_workdir_keeps_is_not_encoded_again(tmp_path, encoded):
  asked(tmp_path).keep()
  encoded.clear()
  lengths = Lengths(epath.Path(tmp_path))
  assert lengths.prompts(RENDERER, PROMPTS) == [2, 3, 4] and lengths.solutions(RENDERER, SOLUTIONS) == [2]
  assert not encoded
  lengths.keep()
  assert Lengths(epath.Path(tmp_path)).prompts(RENDERER, PROMPTS) == [2, 3, 4] and not encoded


@pytest.mark.parametrize(
  'other',
  [
    {'prompts': ['red blue', 'red', 'blue blue red']},
    {'renderer': Renderer(Tokenizer.from_bytes(train_words(['red', 'blue', 'green'])))},
  ],
)
def test_other_texts_and_other_tokenizers_have_lengths_of_their_own(tmp_path, encoded, other):
  asked(tmp_path).keep()
  encoded.clear()
  asked(tmp_path, **other)
  assert encoded


@pytest.mark.parametrize('damage', ['', '{', '[]', '{"a": [-1]}', '{"a": ["2"]}'])
def test_a_damaged_file_is_made_again(tmp_path, damage):
  asked(tmp_path).keep()
  whole = (tmp_path / layout.LENGTHS).read_text()
  (tmp_path / layout.LENGTHS).write_text(damage)
  asked(tmp_path).keep()
  assert (tmp_path / layout.LENGTHS).read_text() == whole


def test_nothing_is_written_before_it_is_kept(tmp_path):
  asked(tmp_path)
  assert not list(tmp_path.iterdir())
