"""Writes a SentencePiece vocabulary as the files that transformers, vLLM and llama.cpp read.

`tokenizer.json` is written out here instead of by transformers' own conversion, which gives a base class that guesses;
this one says every step, and equality of ids with SentencePiece is tested on real text. Where they differ by design: a
control token written out in a text (`<eos>`) is that token there and plain characters here, and of several unknown
words in a row a word-level vocabulary has one `<unk>` here and one a word there.
"""

from __future__ import annotations

import json
from typing import Any

from etils import epath

from sweb_jax.models import sentencepiece_proto as sp
from sweb_jax.models.tokenizer import Tokenizer, TokenizerError
from sweb_jax.runtime import files


def chat_template(begin: str, end: str) -> str:
  """Gemma's turns, in Jinja, between these marks."""
  return (
    '{{ bos_token }}{% for message in messages %}'
    f"{{{{ '{begin}' + ('model' if message['role'] == 'assistant' else message['role']) + '\\n'"
    f" + message['content'] | trim + '{end}\\n' }}}}"
    f"{{% endfor %}}{{% if add_generation_prompt %}}{{{{ '{begin}model\\n' }}}}{{% endif %}}"
  )


def save(folder: epath.PathLike, tokenizer: Tokenizer, chat: bool = False) -> None:
  """Writes `tokenizer.model`, `tokenizer.json` and `tokenizer_config.json`; with `chat` the template of turns too.

  Raises TokenizerError for a vocabulary that `tokenizer.json` cannot express.
  """
  folder = epath.Path(folder)
  described = tokenizer_json(tokenizer)
  names = {'bos_token': tokenizer.bos_id, 'eos_token': tokenizer.eos_id, 'pad_token': tokenizer.pad_id}
  special = {t['id']: t['content'] for t in described['added_tokens'] if t['special']}
  config = {
    'tokenizer_class': 'PreTrainedTokenizerFast',
    'clean_up_tokenization_spaces': False,
    'padding_side': 'left',
    'model_max_length': int(1e30),
    'unk_token': described['model']['unk_token'],
  } | {name: special[i] for name, i in names.items()}
  if chat:
    pieces = tokenizer.vocabulary().pieces
    config['chat_template'] = chat_template(*(pieces[i] for i in tokenizer.turn_ids()))
  tokenizer.save(folder / 'tokenizer.model')
  files.write_text(folder / 'tokenizer.json', json.dumps(described, ensure_ascii=False))
  files.write_json(folder / 'tokenizer_config.json', config)


def tokenizer_json(tokenizer: Tokenizer) -> dict[str, Any]:
  """The content of `tokenizer.json` (the tokenizers library's format). Encoding adds BOS, as transformers users expect.

  Raises TokenizerError for a vocabulary that it cannot express.
  """
  vocabulary = tokenizer.vocabulary()
  if vocabulary.model_type not in (sp.BPE, sp.WORD):
    raise TokenizerError(f'{tokenizer.name}: only byte-pair and word-level SentencePiece models can be exported')
  if vocabulary.character_map:
    raise TokenizerError(f'{tokenizer.name}: its normaliser replaces characters; only identity can be exported')
  if vocabulary.add_dummy_prefix != (vocabulary.model_type == sp.WORD):
    raise TokenizerError(
      f'{tokenizer.name}: only byte-pair models without and word-level models with a dummy prefix can be exported'
    )
  bos = vocabulary.pieces[tokenizer.bos_id]
  whole = {'A': {'Sequence': {'id': 'A', 'type_id': 0}}, 'B': {'Sequence': {'id': 'B', 'type_id': 1}}}
  starts = [{'SpecialToken': {'id': bos, 'type_id': i}} for i in (0, 1)]
  return {
    'version': '1.0',
    'truncation': None,
    'padding': None,
    'added_tokens': _added(vocabulary),
    **(_word(vocabulary) if vocabulary.model_type == sp.WORD else _byte_pairs(vocabulary)),
    'post_processor': {
      'type': 'TemplateProcessing',
      'single': [starts[0], whole['A']],
      'pair': [starts[0], whole['A'], starts[1], whole['B']],
      'special_tokens': {bos: {'id': bos, 'ids': [tokenizer.bos_id], 'tokens': [bos]}},
    },
  }


def _added(v: sp.Vocabulary) -> list[dict[str, Any]]:
  """Pieces that are cut out of a text before anything else.

  User-defined ones are looked for in the normalised text, so that runs of spaces are found, and all in one pass, so
  that the leftmost and longest is taken, as SentencePiece does.
  """
  return [
    {
      'id': i,
      'content': piece,
      'single_word': False,
      'lstrip': False,
      'rstrip': False,
      'normalized': kind == sp.USER_DEFINED and piece not in sp.TURN_MARKS,
      'special': kind != sp.USER_DEFINED or piece in sp.TURN_MARKS,
    }
    for i, (piece, kind) in enumerate(zip(v.pieces, v.types, strict=True))
    if kind in (sp.CONTROL, sp.UNKNOWN, sp.USER_DEFINED)
  ]


def _byte_pairs(v: sp.Vocabulary) -> dict[str, Any]:
  return {
    'normalizer': _replace(' ', '\u2581'),
    'pre_tokenizer': None,
    'decoder': {
      'type': 'Sequence',
      'decoders': [_replace('\u2581', ' '), {'type': 'ByteFallback'}, {'type': 'Fuse'}],
    },
    'model': {
      'type': 'BPE',
      'dropout': None,
      'unk_token': v.pieces[v.types.index(sp.UNKNOWN)],
      'continuing_subword_prefix': None,
      'end_of_word_suffix': None,
      'fuse_unk': True,
      'byte_fallback': v.byte_fallback,
      'ignore_merges': False,
      'vocab': _ids(v),
      'merges': _merges(v),
    },
  }


def _word(v: sp.Vocabulary) -> dict[str, Any]:
  spaces = [_replace(' {2,}', ' ', 'Regex'), _replace('^ | $', '', 'Regex')] if v.remove_extra_whitespaces else []
  first = {'type': 'Strip', 'content': ' ', 'start': 1, 'stop': 0}
  return {
    'normalizer': {
      'type': 'Sequence',
      'normalizers': [*spaces, {'type': 'Prepend', 'prepend': '\u2581'}, _replace(' ', '\u2581')],
    },
    'pre_tokenizer': {
      'type': 'Split',
      'pattern': {'String': '\u2581'},
      'behavior': 'MergedWithNext',
      'invert': False,
    },
    'decoder': {'type': 'Sequence', 'decoders': [_replace('\u2581', ' '), {'type': 'Fuse'}, first]},
    'model': {'type': 'WordLevel', 'vocab': _ids(v), 'unk_token': v.pieces[v.types.index(sp.UNKNOWN)]},
  }


def _replace(old: str, new: str, kind: str = 'String') -> dict[str, Any]:
  return {'type': 'Replace', 'pattern': {kind: old}, 'content': new}


def _ids(v: sp.Vocabulary) -> dict[str, int]:
  return {piece: i for i, piece in enumerate(v.pieces)}


def _merges(v: sp.Vocabulary) -> list[list[str]]:
  """Every way to join two pieces into a third, the best third first: SentencePiece joins what gives the best score."""
  normal = {p: (-score, i) for i, (p, score, t) in enumerate(zip(v.pieces, v.scores, v.types, strict=True)) if t == 1}
  found = []
  for piece, rank in normal.items():
    for cut in range(1, len(piece)):
      left, right = piece[:cut], piece[cut:]
      if left in normal and right in normal:
        found.append((rank, normal[left][1], normal[right][1], left, right))
  found.sort()
  return [[left, right] for *_, left, right in found]
