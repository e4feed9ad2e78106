"""Tables of the report's page: no wider than the page, sorted by a click; on a phone folded, and a card a row."""

from __future__ import annotations

import re
from html import escape as _e

from sweb_jax.analysis.table import Table

KEPT = ('difference', 'verdict', 'verdict, Holm')
"""Columns that stay even where all rows say the same."""

MANY = 13
"""Columns beyond which a table is set smaller, to fit a screen of 1,280 pixels."""

STYLE = """
.wide { overflow-x: auto; }
table { border-collapse: collapse; width: 100%; font-size: .8rem; font-variant-numeric: tabular-nums; }
th, td { padding: .25rem .4rem; text-align: left; vertical-align: top; border-bottom: 1px solid var(--line);
  overflow-wrap: break-word; }
.dense { font-size: .72rem; }
.dense th, .dense td { padding: .25rem .2rem; }
th { border-bottom: 2px solid var(--soft); }
th button { all: unset; cursor: pointer; font-weight: 600; }
th button:focus-visible { outline: 3px solid var(--accent); }
th[aria-sort=ascending] button::after { content: ' ▲'; }
th[aria-sort=descending] button::after { content: ' ▼'; }
.interval { display: inline-block; }
@media (max-width: 700px) {
  .cards table, .cards tbody, .cards tr, .cards td { display: block; }
  .cards thead { display: block; }
  .cards thead::before { content: 'sort by'; color: var(--soft); }
  .cards thead tr { display: flex; flex-wrap: wrap; gap: .4rem; }
  .cards th { border: 1px solid var(--soft); border-radius: .3rem; padding: 0; }
  .cards th button { display: block; padding: .5rem .6rem; }
  .cards th[aria-sort] { border-color: var(--accent); color: var(--accent); }
  .cards tr { border-bottom: 2px solid var(--soft); padding: .4rem 0; }
  .cards td { border: 0; padding: .1rem 0; text-align: right; overflow-wrap: anywhere; display: flow-root; }
  .cards td::before { content: attr(data-label); color: var(--soft); float: left; padding-right: 1rem; }
}
"""

SCRIPT = """
'use strict';
function key(row, column) {
  const text = row.cells[column].textContent;
  const number = parseFloat(text.replace(/,/g, ''));
  return Number.isNaN(number) ? text : number;
}
function before(a, b) {
  if (typeof a === 'number' && typeof b === 'number') return a - b;
  if (typeof a === typeof b) return a.localeCompare(b);
  return typeof a === 'number' ? -1 : 1;
}
if (matchMedia('(max-width: 700px)').matches)
  for (const table of document.querySelectorAll('details:has(table)')) table.open = false;
document.documentElement.classList.add('cards');
for (const table of document.querySelectorAll('table')) {
  const heads = [...table.querySelectorAll('th')];
  for (const row of table.tBodies[0].rows)
    heads.forEach((head, column) => { row.cells[column].dataset.label = head.textContent; });
  heads.forEach((head, column) => {
    const button = document.createElement('button');
    button.type = 'button';
    button.textContent = head.textContent;
    head.replaceChildren(button);
    button.addEventListener('click', () => {
      const up = head.getAttribute('aria-sort') !== 'ascending';
      for (const other of heads) other.removeAttribute('aria-sort');
      head.setAttribute('aria-sort', up ? 'ascending' : 'descending');
      const body = table.tBodies[0];
      const empty = row => row.cells[column].textContent === '–';
      body.append(...[...body.rows].sort((a, b) => empty(a) - empty(b) ||
        (up ? 1 : -1) * before(key(a, column), key(b, column))));
    });
  });
}
"""


def table_html(table: Table) -> str:
  """A table for a reader: empty columns are left out, and what is the same in every row is said once above it."""
  headers, rows = table.readable()
  same = [len(rows) > 1 and len({row[i] for row in rows}) == 1 for i in range(len(headers))]
  told = [i for i, name in enumerate(headers) if same[i] and i and name not in KEPT and rows[0][i] not in ('', '–')]
  shown = [i for i in range(len(headers)) if i not in told and any(row[i] not in ('', '–') for row in rows)]
  lead = '; '.join(f'{headers[i]} {rows[0][i]}' for i in told)
  head = ''.join(f'<th scope="col">{_e(headers[i])}</th>' for i in shown)
  body = '\n'.join(f'<tr>{"".join(f"<td>{_interval(_e(row[i]))}</td>" for i in shown)}</tr>' for row in rows)
  above = f'<p class="note">In every row: {_e(lead)}.</p>\n' if lead else ''
  dense = ' class="dense"' if len(shown) > MANY else ''
  whole = f'<table{dense}>\n<thead><tr>{head}</tr></thead>\n<tbody>\n{body}\n</tbody></table>'
  return f'{above}<div class="wide">{whole}</div>\n'


def _interval(text: str) -> str:
  """An interval is read in one piece where it can be."""
  return re.sub(r'(\[[^\]]*\])$', r'<span class="interval">\1</span>', text)
