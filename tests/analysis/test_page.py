from __future__ import annotations

import csv
import dataclasses
import re
import xml.etree.ElementTree

import pytest
from etils import epath

from sweb_jax import analysis, layout
from sweb_jax.analysis import effort, figures, page, paper
from sweb_jax.analysis.table import Table
from sweb_jax.runtime import manifest

SECONDS = {'problems/set0/train': 1, 'problems/set0/test': 2, 'verdicts/set0/wc': 4, 'verdicts/set0/se': 8}
DIFFERENCES = ('comparison', 'matched', 'learner', 'side A', 'side B', 'difference', 'verdict')


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
    assert f'id="{link[1:]}"' in text if link.startswith('#') else (workdir / 'report' / link).exists(), link


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


def test_the_headline_counts_cells_by_the_mean_and_those_decided():
  rows = (
    ('low', 'compute', 'student', 'WC', 'SE', 0.1, 'WC'),
    ('low', 'compute', 'wc', 'WC', 'SE', 0.1, 'undecided at 95 %'),
    ('low', 'compute', 'se', 'WC', 'SE', -0.1, 'undecided at 95 %'),
    ('low', 'compute', 'other', 'WC', 'SE', None, 'no data'),
    ('low', 'number', 'se', 'WC', 'SE', -0.1, 'SE'),
    ('low: x', 'spending', 'se', 'x', 'y', 0.1, 'x'),
    ('low: z', 'spending', 'se', 'z', 'y', 0.1, 'z'),
  )
  assert page.headline([Table('differences', '', DIFFERENCES, rows, '')]) == (
    'Compute-matched: WC data is ahead in 2 of 3 cells (1 decided at 95 %), SE data in 1 (0 decided). '
    'Number-matched: WC data is ahead in 0 of 1 cells (0 decided at 95 %), SE data in 1 (1 decided).'
  )
  assert page.headline([]) == ''


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
  text = page.render(empty, [], drawn, 'Nothing yet.', str, effort.seconds(workdir / 'nowhere', results.study))
  assert text.index('samples/set0/wc &lt;none&gt;') < text.index('Figures')
  assert 'There is nothing to draw yet' in text
  assert '<script' not in text
