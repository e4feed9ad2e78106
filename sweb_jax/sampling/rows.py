"""How a row of somebody's file of samples is understood: which problem it is of, what was drawn, and what it cost.

Fields go by the names that inference servers, gateways and data tools give them, or by a mapping. A row may hold
several samples, as a list of texts or of objects.
"""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from sweb_jax.records import UNKNOWN
from sweb_jax.runtime import typed

NAMES: Mapping[str, tuple[str, ...]] = {
  'problem_id': ('problem_id', 'unique_id', 'question_id', 'task_id', 'custom_id', 'id'),
  'problem': ('problem', 'question', 'prompt', 'messages', 'input', 'instruction'),
  'completion': (
    *('completion', 'completions', 'response.body.choices', 'response', 'responses', 'generation', 'generations'),
    *('outputs', 'output', 'samples', 'choices', 'message', 'content', 'generated_text', 'code', 'text', 'solution'),
  ),
  'index': ('sample_index', 'sample_id', 'index'),
  'tokens': (
    *('token_ids', 'output_token_ids', 'completion_tokens', 'output_tokens', 'num_generated_tokens', 'num_tokens'),
    *('n_tokens', 'tokens', 'usage.completion_tokens', 'usage.output_tokens', 'usage.candidates_token_count'),
    *('response.body.usage.completion_tokens', 'response.body.usage.output_tokens'),
  ),
  'prompt_tokens': (
    *('prompt_tokens', 'input_tokens', 'usage.prompt_tokens', 'usage.input_tokens', 'usage.prompt_token_count'),
    *('response.body.usage.prompt_tokens', 'response.body.usage.input_tokens', 'prompt_token_ids'),
  ),
  'finish': ('finish_reason', 'finish', 'stop_reason', 'cut'),
  'logprob': ('cumulative_logprob', 'logprob'),
}
"""What is looked for -> names it goes by, the first that a row has; a dot leads into an object."""

_TYPES = {
  'completion': (str, list, dict), 'problem': (str, list), 'problem_id': (str, int), 'index': (int, float, str, list)
}  # fmt: skip
"""Values of other types are something else, as `samples` is where it is their number."""
_CUT = ('length', 'max_tokens', 'max_output_tokens', 'max_length', 'max_new_tokens')
_MOST_INDEX = 1 << 16
_MOST_TOKENS = 1 << 20
"""Of a completion or a prompt; no model has read so much."""
_MOST_BYTES = 128
"""Of a text for each of its tokens: no tokenizer has so long ones on the average."""


class RowError(ValueError):
  """A row that is not used. The first argument is the kind of fault, the second says what is wrong with this row."""

  @property
  def kind(self) -> str:
    return self.args[0]

  def __str__(self) -> str:
    return self.args[1]


@dataclasses.dataclass(frozen=True)
class Taken:
  """One sample of a row."""

  problem_id: str | None
  problem: str | None
  """The problem's text."""
  index: int | None
  """Its number among those of the problem, where the row has one."""
  text: str
  tokens: tuple[int, ...] | None
  """Ids, or `UNKNOWN` for each that was charged; None where the row does not say how many."""
  prompt_tokens: int | None
  finish: str
  """'stop' or 'length'."""
  logprob: float


@dataclasses.dataclass(frozen=True)
class Fields:
  """Where the parts of a row are found."""

  own: Mapping[str, str] = dataclasses.field(default_factory=dict)
  """Of `NAMES` -> the name in this file, which alone is looked for; '': there is none."""

  def find(self, what: str, *objects: Mapping[str, Any]) -> tuple[str, Any]:
    """The name under which the first of some objects has it, and its value; ('', None) where none has."""
    names = NAMES[what] if what not in self.own else (self.own[what],) if self.own[what] else ()
    for found in objects:
      for name in names:
        if isinstance(value := _get(found, name), _TYPES.get(what, object)) and value is not None:
          return name, value
    return '', None

  def understand(self, row: Mapping[str, Any]) -> list[Taken]:
    """The samples of a row. Raises RowError."""
    _, said = self.find('completion', row)
    if said is None and (said := _last_answer(self.find('problem', row)[1])) is None:
      raise RowError('no completion', f'none of its fields {typed.names(map(repr, row))} is known to hold a completion')
    parts = list(self._parts(said))
    if not parts:
      raise RowError('no completion', 'its list of completions is empty')
    counts, prompts = self._counts(row, parts), self._each('prompt_tokens', row, parts)
    indices, ends, logprobs = (self._each(what, row, parts) for what in ('index', 'finish', 'logprob'))
    id_ = self.find('problem_id', row)[1]
    problem = _question(self.find('problem', row)[1])
    return [
      Taken(
        None if id_ is None else str(id_),
        problem,
        _index(index),
        text,
        _ids(count, text),
        _length(prompt),
        'length' if end is True or str(end).lower() in _CUT else 'stop',
        _logprob(logprob),
      )
      for (text, _), index, count, prompt, end, logprob in zip(
        parts, indices, counts, prompts, ends, logprobs, strict=True
      )
    ]

  def _parts(self, value: Any) -> Iterator[tuple[str, Mapping[str, Any]]]:
    """(text, the object that it stands in) of each completion of a value."""
    if isinstance(value, str):
      yield value, {}
    elif isinstance(value, list):
      if (said := _last_answer(value)) is not None:
        yield from self._parts(_joined(said))
        return
      for item in value:
        yield from self._parts(item)
    elif isinstance(value, dict):
      names = NAMES['completion']
      inner = next((value[name] for name in names if isinstance(value.get(name), str | dict | list)), None)
      if inner is None and not any(name in value for name in names):
        said = typed.names(map(repr, value))
        raise RowError('no completion', f'an object of its completions has the fields {said}, and no text')
      # A text of null is what a server gives that drew nothing, or only a call of a tool.
      yield from ((text, value | part) for text, part in self._parts('' if inner is None else inner))
    else:
      raise RowError('no completion', f'a completion is {_short(value)}, not a text')

  def _each(self, what: str, row: Mapping[str, Any], parts: Sequence[tuple[str, Mapping[str, Any]]]) -> list[Any]:
    """The value for each completion: of its own object, or of the row, for each or for all."""
    name, shared = self.find(what, row)
    if what == 'index':  # The number within a reply starts at 0 in every row, and is not the problem's.
      parts = [(text, {}) for text, _ in parts]
    if len(parts) == 1:
      own = self.find(what, parts[0][1])[1]
      return [shared if own is None else own]
    if isinstance(shared, list) and what != 'prompt_tokens':
      if len(shared) != len(parts):
        raise RowError('counts that do not fit', f'{len(parts)} completions, and {name} has {len(shared)} entries')
      return shared
    # A number that the row has once is not that of any of its samples.
    shared = None if what in ('index', 'tokens', 'logprob') else shared
    return [own if (own := self.find(what, part)[1]) is not None else shared for _, part in parts]

  def _counts(self, row: Mapping[str, Any], parts: Sequence[tuple[str, Mapping[str, Any]]]) -> list[Any]:
    """Token ids, or their number, of each completion; what a row says of all together is shared out."""
    counts = self._each('tokens', row, parts)
    total = self.find('tokens', row)[1]
    if len(parts) > 1 and all(c is None for c in counts) and isinstance(total, int):
      _length(total)
      return share_out(total, [text for text, _ in parts])
    return counts


def share_out(tokens: int, texts: Sequence[str]) -> list[int]:
  """What each of several completions is charged of a number of tokens that was given for all: in proportion to length.

  The sum is the number; what rounding leaves goes to the longest. A server counts so where it draws several at once.
  """
  sizes = [len(text.encode()) + 1 for text in texts]
  counts = [tokens * size // sum(sizes) for size in sizes]
  counts[sizes.index(max(sizes))] += tokens - sum(counts)
  return counts


def _get(row: Any, name: str) -> Any:
  """The value under a name, or under a path with dots through objects."""
  if isinstance(row, Mapping):
    if name in row:
      return row[name]
    first, dot, rest = name.partition('.')
    if dot and first in row:
      return _get(row[first], rest)
  return None


def _ids(value: Any, text: str) -> tuple[int, ...] | None:
  if value is None:
    return None
  if isinstance(value, list) and all(type(t) is int for t in value):
    ids = tuple(value)
  elif type(value) is int and 0 <= value <= _MOST_TOKENS:
    ids = (UNKNOWN,) * value
  else:
    raise RowError('counts that do not fit', f'{_short(value)} is no number of tokens')
  if len(text.encode()) > _MOST_BYTES * len(ids):
    raise RowError('counts that do not fit', f'a completion of {len(text)} characters cannot have {len(ids)} tokens')
  return ids


def _length(value: Any) -> int | None:
  if isinstance(value, list):
    return len(value)
  if value is None or (type(value) is int and 0 <= value <= _MOST_TOKENS):
    return value
  raise RowError('counts that do not fit', f'{_short(value)} is no number of tokens of a prompt')


def _index(value: Any) -> int | None:
  if isinstance(value, str):  # A name that is no number says nothing of the order.
    value = int(value[:9]) if value.isascii() and value.isdigit() else None
  if isinstance(value, float) and value.is_integer():  # As tables have it where one is missing.
    value = int(value)
  if value is None or (type(value) is int and 0 <= value < _MOST_INDEX):
    return value
  raise RowError('index', f"{_short(value)} is no sample's number, which is whole and below {_MOST_INDEX}")


def _logprob(value: Any) -> float:
  """0 where there is none."""
  if isinstance(value, int) and abs(value) > 1e9:
    raise RowError('logprob', f'{_short(value)} is no log-probability')
  found = float(value) if isinstance(value, float | int) else 0.0
  if not math.isfinite(found):
    raise RowError('logprob', f'{_short(value)} is no log-probability')
  return found


def _joined(value: Any) -> Any:
  """The text of a message that is given in parts; anything else as it is."""
  if isinstance(value, list) and all(isinstance(part, dict) for part in value):
    return ''.join(text for part in value if isinstance(text := part.get('text'), str))
  return value


def _question(value: Any) -> str | None:
  """The text of a problem: itself, or what the user says last."""
  if isinstance(value, list):
    said = [m for m in value if isinstance(m, dict) and m.get('role') == 'user']
    value = said[-1].get('content') if said else None
    value = _joined(value)
  return value if isinstance(value, str) else None


def _last_answer(value: Any) -> str | None:
  """What the assistant says at the end of a conversation; None where the value is none."""
  if not isinstance(value, list) or not value or not all(isinstance(m, dict) and 'role' in m for m in value):
    return None
  return (value[-1].get('content') or '') if value[-1]['role'] == 'assistant' else None


def _short(value: Any) -> str:
  said = repr(value)
  return said if len(said) <= 60 else f'{said[:57]}...'
