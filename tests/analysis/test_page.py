from __future__ import annotations

import csv
import dataclasses
import re
import xml.etree.ElementTree

import pytest
from etils import epath

from sweb_jax import analysis, layout
from sweb_jax.analysis import drawing, effort, figures, page, paper, tables
from sweb_jax.analysis.table import Table
from sweb_jax.runtime import manifest

SECONDS = {'problems/set0/train': 1, 'problems/set0/test': 2, 'verdicts/set0/wc': 4, 'verdicts/set0/se': 8}


@pytest.fixture
def workdir(make_workdir):
  """The hand-made study with manifests that say how long its steps took."""
  root = epath.Path(make_workdir())
  for folder, seconds in SECONDS.items():
    manifest.write(root, folder, dataclasses.replace(manifest.read(root, folder), seconds=seconds))
  report = manifest.read(root, 'problems/set0/train')
  manifest.write(root, layout.REPORT, dataclasses.replace(report, kind='report', seconds=99))
  (root / 'problems/set1/validation' / layout.MANIFEST).write_text('{"version": "v", "do')
  return root


def test_every_figure_is_a_picture_of_its_own_with_its_data(workdir):
  analysis.write(workdir)
  folder, text = workdir / 'report/figures', (workdir / 'report/index.html').read_text()
  names = {path.stem for path in folder.glob('*.svg')}
  assert names >= {'accuracy', 'coverage', 'diversity', 'differences', 'majority', 'false_positives'}
  assert names == {path.stem for path in folder.glob('*.csv')}
  for name in names:
    picture = xml.etree.ElementTree.fromstring((folder / f'{name}.svg').read_text())
    assert picture.tag == '{http://www.w3.org/2000/svg}svg'
    assert {'width', 'height', 'viewBox'} <= picture.attrib.keys()
    header, *rows = csv.reader((folder / f'{name}.csv').read_text().splitlines())
    assert rows and all(len(row) == len(header) for row in rows)
    assert f'href="figures/{name}.csv"' in text and f'href="figures/{name}.svg"' in text
    assert f'aria-label="{name}"' in text


def test_links_lead_into_the_page_or_to_files_beside_it(workdir):
  analysis.write(workdir)
  text = (workdir / 'report/index.html').read_text()
  for link in re.findall(r'(?:href|src)="([^"]*)"', text):
    file, _, place = link.partition('#')
    assert (workdir / 'report' / file).exists() if file else f'id="{place}"' in text, link


def test_the_figure_of_difficulties_holds_the_compute_matched_arms(workdir):
  columns = ('figure', 'learner', 'source', 'level', 'value', 'value low', 'value high', 'sets', 'n')
  rows = (
    ('coverage@2', '', 'wc_low', 'easy', 0.9, 0.8, 1.0, 2, 4),
    ('coverage@2', '', 'wc_low', 'hard', None, None, None, 2, 0),
    ('diversity@2 (all)', '', 'wc_low', 'easy', 1.5, 1.0, 2.0, 2, 4),
    ('coverage@1', '', 'wc_low_n', 'easy', 0.5, 0.4, 0.6, 2, 4),
    ('greedy pass@1', 'student', 'wc_low', 'easy', 0.5, 0.4, 0.6, 2, 4),
  )
  drawn = figures.build(analysis.read(workdir), [Table('by_level', '', columns, rows, 'Named by the task.')])
  (found,) = [f for f in drawn if f.table.name == 'levels']
  assert found.table.rows == (('wc_low', 'wc', 'easy', 0.9, 0.8, 1.0, 4), ('wc_low', 'wc', 'hard', *[None] * 3, 0))
  assert found.table.note.endswith('Named by the task.')
  assert '>easy<' in found.svg


def test_a_curve_goes_through_its_arms(workdir):
  table = figures.curve(analysis.read(workdir), 'coverage')
  rows = {(r[0], r[1], r[2]): dict(zip(table.columns, r, strict=True)) for r in table.rows}
  assert rows['wc', 'all', 2]['coverage'] == pytest.approx((1 + 2 / 3 + 1 + 0) / 4, abs=1e-4)
  assert rows['wc', 'all', 2]['arm'] == 'wc_low'
  assert rows['wc', '1', 2]['coverage'] == 0.5
  assert rows['wc', 'all', 2]['cost'] == pytest.approx(2 * rows['wc', 'all', 1]['cost'])
  # 20 FLOPs a token, 15 tokens in the 6 samples of set 0 and 12 in those of set 1.
  assert rows['wc', 'all', 1]['cost'] == pytest.approx(20 * (15 / 6 + 12 / 6) / 2)


def test_the_curve_of_diversity_is_the_figure_of_the_table(workdir):
  results = analysis.read(workdir)
  table = figures.curve(results, 'diversity')
  rows = {(r[0], r[1], r[2]): dict(zip(table.columns, r, strict=True)) for r in table.rows}
  data = tables.data(results)
  (row,) = [dict(zip(data.columns, r, strict=True)) for r in data.rows if r[0] == 'wc_low']
  assert rows['wc', 'all', 2]['diversity'] == row['diversity@k (solved)']
  # The SE model solves nothing in set 1: no such figure exists.
  assert not [key for key in rows if key[0] == 'se']


def test_a_study_matched_by_price_is_drawn_in_dollars(workdir, change_study):
  change_study(workdir, cost='price', prices={'wc': (1.0, 2.0), 'se': (2.0, 4.0)})
  results = analysis.read(workdir)
  table = figures.curve(results, 'coverage')
  rows = {(r[0], r[1], r[2]): dict(zip(table.columns, r, strict=True)) for r in table.rows}
  # Read once: 5 tokens for two problems, and 3 for each, at $1 a million; drawn: 2.25 a sample at $2.
  assert rows['wc', 'all', 2]['cost'] == pytest.approx((5 / 2 + 3 + 2 * 2.25 * 2) * 1e-6)
  assert table.title == 'Coverage at price'
  built = analysis.write(workdir)
  page = (workdir / 'report/index.html').read_text()
  assert 'matched by price' in page and 'ompute-matched' not in page and 'sampling cost, dollars' in page
  assert paper.beside(results, built) == {}


def test_a_figure_is_drawn_in_the_colours_of_the_page():
  svg = '<svg width="1pt"><path style="fill: #000000; stroke: #ffffff"/><path style="fill: #d55e00"/></svg>'
  assert drawing.inline(svg) == (
    '<svg><path style="fill: var(--ink); stroke: var(--ground)"/><path style="fill: #d55e00"/></svg>'
  )


@pytest.mark.parametrize(
  ('cost', 'unit', 'label'),
  [
    *((3e9, 'FLOPs', '3·10⁹'), (1.5e7, 'FLOPs', '1.5·10⁷'), (1e12, 'FLOPs', '10¹²'), (3000, 'tokens', '3,000')),
    *((0.03, 'dollars', '$0.03'), (1e-5, 'dollars', '$0.00001'), (30, 'dollars', '$30')),
  ],
)
def test_costs_are_written_as_people_read_them(cost, unit, label):
  assert drawing.amount(cost, unit) == label


def test_the_paper_stands_beside_its_own_comparison_only(workdir):
  results = analysis.read(workdir)
  built = analysis.write(workdir)
  found = paper.beside(results, built)
  # The SE model solves nothing in one set: neither diversity over solved problems nor false positives exist.
  assert set(found) == {'coverage', 'accuracy'}
  row = dict(zip(found['accuracy'].columns, found['accuracy'].rows[0], strict=True))
  assert row["budget, learner (the paper's)"] == 'low, student (Gemma-7B)'
  assert row['this study, WC minus SE'].startswith('+0.375 [')
  assert (row['paper, MATH'], row['paper, GSM8K']) == ('+6 %', '+4.2 %')
  assert 'others' in found['accuracy'].note
  math = dataclasses.replace(results, config={'task': {'name': 'math'}})
  assert paper.beside(math, built)['coverage'].columns[2:] == ('paper, MATH',)
  assert paper.beside(math, built)['coverage'].rows[0][2] == '+11 points'
  for change in ({'matched': 'number'}, {'policy': 'cascade'}, {'samples': 2}):
    arms = tuple(dataclasses.replace(a, **change) if a.name == 'se_low' else a for a in results.study.arms)
    other = dataclasses.replace(results, study=dataclasses.replace(results.study, arms=arms))
    assert paper.beside(other, built) == {}


def test_time_is_summed_by_stage_without_the_report(workdir):
  table = effort.seconds(workdir, analysis.read_study(workdir))
  steps = {'plan': 5, 'sample': 4, 'grade': 4, 'train': 6, 'evaluate': 8}  # One of the six of the plan is torn.
  taken = {'plan': 3.0, 'grade': 12.0}
  assert table.rows == (*((stage, n, taken.get(stage, 0.0)) for stage, n in steps.items()), ('all', 27, 15.0))
  analysis.write(workdir)
  assert 'Time taken' in (workdir / 'report/index.html').read_text()


def test_what_is_missing_stands_first(workdir):
  results = analysis.read(workdir)
  empty = dataclasses.replace(results, drawn={}, greedy={}, sampled={}, held={}, selections={}, excerpts=())
  empty = dataclasses.replace(empty, missing=('samples/set0/wc <none>: the stage sample makes it',))
  drawn = figures.build(empty, [])
  assert drawn == []
  text = page.render(empty, [], drawn, str, effort.seconds(workdir / 'nowhere', results.study))
  assert text.index('samples/set0/wc &lt;none&gt;') < text.index('Figures')
  assert 'There is nothing to draw yet' in text
