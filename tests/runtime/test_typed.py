"""What is said of JSON that is no value of a type."""

from __future__ import annotations

import pydantic
import pytest

from sweb_jax.runtime import typed


@pydantic.dataclasses.dataclass
class Counts:
  tokens: dict[str, int]


@pytest.mark.parametrize('name', ['x' * 10**5, '[' * 10**5])
def test_a_name_of_the_file_s_own_is_not_all_of_a_message(name):
  with pytest.raises(ValueError, match=r'^tokens\..*=None: should be a valid integer$') as error:
    typed.from_json(Counts, f'{{"tokens": {{"{name}": null}}}}')
  assert len(str(error.value)) < 200


def test_names_of_a_row_are_as_many_as_a_message_holds():
  assert typed.names({'id': 1, 'question': 2}) == 'id, question'
  assert typed.names(map(str, range(10))) == '0, 1, 2, 3, 4, 5, 6, 7, 8, 9'
  assert typed.names(map(str, range(12))) == '0, 1, 2, 3, 4, 5, 6, 7, 8, 9 and 2 more'
  assert typed.names(['x' * 101, 'b']) == f'{"x" * 100}..., b'
