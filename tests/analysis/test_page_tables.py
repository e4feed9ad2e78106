"""Tables as a reader gets them."""

from __future__ import annotations

from sweb_jax.analysis.page_tables import table_html
from sweb_jax.analysis.table import Table

COLUMNS = ('learner', 'side', 'difference', 'difference low', 'difference high', 'FPR', 'n', 'verdict')


def table(*rows, columns=COLUMNS):
  return table_html(Table('t', 'T', columns, rows, ''))


def test_what_all_rows_share_is_said_once_and_what_none_has_is_left_out():
  text = table(('a', 'x', 0.1, 0.0, 0.2, None, 2040, 'u'), ('b', 'x', 0.3, 0.1, 0.5, None, 2040, 'u'))
  assert 'In every row: side x; n 2,040.' in text
  for name, there in {'learner': 1, 'side': 0, 'difference': 1, 'FPR': 0, 'n': 0, 'verdict': 1}.items():
    assert text.count(f'<th scope="col">{name}</th>') == there, name
  assert text.count('<td>') == 2 * 3


def test_a_single_row_keeps_its_columns():
  assert table(('a', 'x', 0.1, 0.0, 0.2, 0.5, 2040, 'u')).count('<td>') == 6


def test_many_columns_are_set_smaller():
  names = tuple(f'c{i}' for i in range(20))
  rows = tuple(range(20)), tuple(range(1, 21))
  assert '<table class="dense">' in table(*rows, columns=names)
  assert 'dense' not in table(*(row[:5] for row in rows), columns=names[:5])


def test_nothing_is_minus_nothing():
  text = table(('a', 'x', -0.0001, -0.00049, 0.2, -0.0, 1, 'u'), ('b', 'x', -0.1, -0.2, 0.0, 0.1, 1, 'u'))
  assert '-0.000' not in text
  assert '+0.000 <span class="interval">[+0.000, +0.200]</span>' in text


def test_names_from_a_config_are_text():
  text = table(('<script>', 'x">', 0.1, 0.0, 0.2, 0.5, 1, 'u'), ('b', 'y', 0.1, 0.0, 0.2, 0.5, 2, 'u'))
  assert '<script' not in text and '&lt;script&gt;' in text and 'x&quot;&gt;' in text
