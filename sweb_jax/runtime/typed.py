"""JSON as a value of a type: names, types and ranges are checked by pydantic, and every fault becomes one sentence."""

from __future__ import annotations

import functools
import reprlib
from collections.abc import Iterable
from typing import TypeVar

import pydantic

T = TypeVar('T')
_SHORT = reprlib.Repr()
_SHORT.maxstring = _SHORT.maxother = _LONGEST = 100
_MANY = 10


def from_json(kind: type[T], text: str | bytes) -> T:
  """What JSON says, as a value of a type; types are taken strictly, and names that the type does not have are refused.

  Raises:
    ValueError: no JSON, nested too deeply, not Unicode, or a value of the wrong type or out of its range.
  """
  try:
    return _adapter(kind).validate_json(text, strict=True, extra='forbid')
  except pydantic.ValidationError as e:
    raise ValueError(fault(e)) from None


def names(row: Iterable[str]) -> str:
  """The names of a row's fields for a message, as many and as much of each as one holds."""
  found = [name if len(name) <= _LONGEST else f'{name[:_LONGEST]}...' for name in row]
  return ', '.join(found[:_MANY]) + (f' and {len(found) - _MANY} more' if len(found) > _MANY else '')


def fault(error: pydantic.ValidationError) -> str:
  """The first fault that a validation found, in one line: the field, its value, and what it should be."""
  first = error.errors(include_url=False)[0]
  field = names(['.'.join(map(str, first['loc']))])
  said = first['msg'].removeprefix('Value error, ').removeprefix('Input ')
  match first['type']:
    case 'json_invalid':
      return f'not JSON that can be read: {first["ctx"]["error"]}'
    case 'missing' | 'missing_argument':
      return f'field {_SHORT.repr(field)} is missing'
    case 'unexpected_keyword_argument' | 'extra_forbidden':
      return f'field {_SHORT.repr(field)} is unknown'
    case 'literal_error':
      said = f'not supported, only {first["ctx"]["expected"]}'
    case 'none_required':
      said = 'not supported'
  if not field:
    return f'its root {said}' if first['type'].endswith('_type') else said
  return f'{field}={_SHORT.repr(first["input"])}: {said}'


@functools.cache
def _adapter(kind: type) -> pydantic.TypeAdapter:
  return pydantic.TypeAdapter(kind)
