"""Rows of ids: base models and chat turns."""

from __future__ import annotations

import dataclasses
import functools

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from sweb_jax.models import sentencepiece_proto as sp
from sweb_jax.models.huggingface_tokenizer import chat_template
from sweb_jax.models.source import open_model
from sweb_jax.models.tokenizer import Tokenizer, TokenizerError
from sweb_jax.records import Example
from sweb_jax.tasks.rendering import Renderer

PIECES = ['<pad>', '<eos>', '<bos>', '<unk>', '<start_of_turn>', '<end_of_turn>', '\n']
CHARACTERS = ['\u2581', *'usermodlatxbq']
PAD, EOS, BOS, UNK, START, END, LINE = range(7)


@functools.cache
def spelling(marks: tuple[str, str] = sp.TURNS[0]) -> Tokenizer:
  """Each character a piece, with the marks of turns."""
  pieces = [*PIECES[:START], *marks, *PIECES[LINE:], *CHARACTERS]
  types = [sp.CONTROL, sp.CONTROL, sp.CONTROL, sp.UNKNOWN] + [sp.USER_DEFINED] * 3 + [sp.NORMAL] * len(CHARACTERS)
  types += [sp.BYTE] * 256
  pieces += [f'<0x{i:02X}>' for i in range(256)]
  scores = [-float(i) for i in range(len(pieces))]
  return Tokenizer.from_bytes(sp.build_bpe(pieces, scores, types, {'pad': PAD, 'eos': EOS, 'bos': BOS, 'unk': UNK}))


def ids(text: str) -> tuple[int, ...]:
  return tuple((PIECES + CHARACTERS).index(c) for c in text.replace(' ', '\u2581'))


USER, MODEL = (START, *ids('user'), LINE), (END, LINE, START, *ids('model'), LINE)


@pytest.mark.parametrize('marks', sp.TURNS, ids=['gemma 3', 'gemma 4'])
def test_a_chat_prompt_is_the_users_turn_and_the_beginning_of_the_models(marks):
  renderer = Renderer(spelling(marks), chat=True)
  assert renderer.prompt('a b') == (BOS, *USER, *ids('a b'), *MODEL)
  assert renderer.stop_ids == (END, EOS)


@pytest.mark.gemma4
def test_a_chat_prompt_is_what_the_gemma_librarys_conversation_is():
  import dialog

  for marks, form in zip(sp.TURNS, ('gemma3', 'gemma4'), strict=True):
    renderer = Renderer(spelling(marks), chat=True)
    wanted = dialog.Conversation(dialog.User('a b')).as_text(format=form)
    assert renderer.tokenizer.decode(renderer.prompt('a b')) == wanted


@settings(deadline=None)
@given(st.text(st.sampled_from([*' \t\n\r\x0b\u00a0\u2003ab9.é<'])))
def test_a_chat_prompt_is_trimmed_as_the_template_does(text):
  jinja2 = pytest.importorskip('jinja2')
  turn = {'messages': [{'role': 'user', 'content': text}], 'bos_token': '', 'add_generation_prompt': True}
  renderer = Renderer(spelling(), chat=True)
  template = jinja2.Template(chat_template(*sp.TURNS[0]))
  assert renderer.tokenizer.decode(renderer.prompt(text)) == template.render(turn)
  row, _ = renderer.example(Example('p', text, ' x\n'))
  assert row == (*renderer.prompt(text), *renderer.tokenizer.encode(' x\n'), END)
  # With worked examples before it, the turn that is trimmed is both together.
  shared = Renderer(renderer.tokenizer, few_shot=' \nq\n a\n', chat=True)
  turn['messages'][0]['content'] = f' \nq\n a\n{text}b \n'
  both = (*shared.prefix, *shared.prompt(f'{text}b \n'))
  assert shared.tokenizer.decode(both) == template.render(turn)


def test_only_chat_turns_are_trimmed():
  assert Renderer(spelling()).prompt(' a\n') == (BOS, *ids(' a'), LINE)


def test_worked_examples_stand_in_the_same_turn():
  renderer = Renderer(spelling(), few_shot='q a ', chat=True)
  assert renderer.prefix == (BOS, *USER, *ids('q a '))
  assert renderer.prompt('a b') == (*ids('a b'), *MODEL)


def test_a_chat_example_ends_with_the_end_of_the_turn_and_only_the_solution_counts():
  row, silent = Renderer(spelling(), chat=True).example(Example('p', 'a b', 'x'))
  assert row == (BOS, *USER, *ids('a b'), *MODEL, *ids('x'), END)
  assert row[silent:] == (*ids('x'), END)


def test_the_end_of_the_turn_or_eos_ends_a_completion_and_is_no_text():
  renderer = Renderer(spelling(), chat=True)
  assert renderer.stop_ids == (END, EOS)
  assert renderer.text((*ids('x a'), END)) == renderer.text((*ids('x a'), EOS)) == 'x a'


def test_without_chat_a_row_is_bos_prompt_solution_eos():
  renderer = Renderer(spelling())
  assert renderer.prompt('a') == (BOS, *ids('a')) and renderer.stop_ids == (EOS,)
  assert renderer.example(Example('p', 'a', 'x')) == ((BOS, *ids('a'), *ids('x'), EOS), 2)


def test_a_vocabulary_without_turns_is_refused():
  with pytest.raises(TokenizerError, match='not a vocabulary for chat turns'):
    _ = Renderer(open_model('embedded:wc').tokenizer, chat=True).stop_ids


def test_what_is_built_is_what_is_parsed():
  found = sp.parse(spelling().model)
  assert found.pieces[:7] == tuple(PIECES) and found.types[:4] == (3, 3, 3, 2)
  assert dataclasses.astuple(found)[3:] == (sp.BPE, True, False, False, False)
  words = sp.parse(open_model('embedded:wc').tokenizer.model)
  assert words.model_type == sp.WORD and words.add_dummy_prefix and words.remove_extra_whitespaces


@pytest.mark.parametrize('chat', [False, True])
@pytest.mark.parametrize('few_shot', ['', 'a b\n\n'])
def test_many_texts_have_the_ids_that_each_has_by_itself(chat, few_shot):
  tokenizer, renderer = spelling(), Renderer(spelling(), few_shot, chat)
  texts = ['a b', '', ' x\n', 'a b', '  q \n ', 'é' * 40, *(f'{i} a' for i in range(200))]
  assert tokenizer.encode_all(texts) == [tokenizer.encode(t) for t in texts] and tokenizer.encode_all([]) == []
  assert renderer.prompts(texts) == [renderer.prompt(t) for t in texts]
  zero_shot = Renderer(spelling(), chat=chat)
  rows = [p + s for p, s in zip(zero_shot.prompts(texts), renderer.solutions(texts), strict=True)]
  assert rows == [renderer.example(Example('p', t, t))[0] for t in texts]
