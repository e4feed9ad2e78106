"""The data of the page of samples: what a reader finds by verdict, and that texts stay texts."""

from __future__ import annotations

import dataclasses
import json

import pytest
from etils import epath

from sweb_jax import analysis, layout, records
from sweb_jax.analysis import browsed
from sweb_jax.records import Sample

HOSTILE = '</script><script>alert(1)</script> <img src=x onerror=alert(2)> \u2028 `${alert(3)}` -->'


def data(root):
  """The index, and the chunks in their order."""
  folder = root / layout.BROWSED
  index = json.loads((folder / layout.BROWSED_INDEX).read_text().removeprefix('const index = ').removesuffix(';\n'))
  chunks = []
  for number in range(index['chunks']):
    text = (folder / layout.numbered(layout.BROWSED_TEXTS, number)).read_text()
    chunks.append(json.loads(text.removeprefix(f'texts({number}, ').removesuffix(');\n')))
  return index, chunks


def write(root, prompt=str):
  browsed.write(root, analysis.read_study(root), prompt, {})


@pytest.fixture
def root(make_workdir):
  return epath.Path(make_workdir())


def test_every_sample_has_its_letter_and_its_text(root):
  write(root, lambda problem: f'Q: {problem.text}')
  index, chunks = data(root)
  first, second, *tests = index['sets']
  assert (first['problems'], first['set'], first['chunk']) == (['train0-0', 'train0-1'], 0, [0, 0])
  assert first['states'] == {'wc': 'rrtwwf', 'se': 'rw'}
  # Set 1: the second sample is right by wrong reasoning.
  assert second['states']['wc'] == 'rfwwww'
  row = chunks[0][0]
  assert (row['text'], row['gold'], row['solution']) == ('Q: question 0 < 3 ?', '7', '3 + 4 = 7')
  assert row['samples']['wc'][0] == ['x', '7', '2 tokens; reasoning right by the checker']
  assert [text for text, *_ in row['samples']['se']] == ['x']
  assert [(s['set'], s['of']) for s in index['sets']] == [
    (0, 'training problems'), (1, 'training problems'), (0, 'test problems'), (1, 'test problems')
  ]  # fmt: skip
  names = ['student before fine-tuning', *(f'student on {arm}' for arm in ('wc_low', 'se_low', 'gold'))]
  # Right and wrong as in GREEDY; before fine-tuning nothing is right on the first set.
  assert [list(t['states'].items()) for t in tests] == [
    list(zip(names, ('wwww', 'rrrw', 'rwww', 'rrrr'), strict=True)),
    list(zip(names, ('rwww', 'rrww', 'rwww', 'rrrr'), strict=True)),
  ]
  answered = chunks[tests[0]['chunk'][3]][3]['samples']
  assert answered['student on wc_low'] == [['t', '8', '2 tokens; reasoning right by the checker']]


def test_what_a_model_wrote_is_no_script(root):
  for path in (root / layout.samples(0, 'se')).glob(layout.CHUNKS):
    path.write_text(records.dumps([dataclasses.replace(s, text=HOSTILE) for s in records.read(Sample, path)]))
  write(root)
  _, chunks = data(root)
  assert [row['samples']['se'][0][0] for row in chunks[0]] == [HOSTILE, HOSTILE]
  for file in (root / layout.BROWSED).glob('*.js'):
    file.read_text().encode('ascii')  # No line separator of another alphabet ends a script's line.
  page = (root / layout.BROWSER).read_text()
  assert 'alert' not in page and 'innerHTML' not in page


def test_a_large_study_is_cut_at_its_first_problems_and_into_chunks(root, monkeypatch):
  write(root)
  assert data(root)[0]['problems'] == sum(len(s['problems']) for s in data(root)[0]['sets']) == 4 + 8
  monkeypatch.setattr(browsed, 'LIMIT', 8)  # Four samples a problem, two sets: one problem of each.
  monkeypatch.setattr(browsed, 'CHUNK', 1)
  write(root)
  index, _ = data(root)
  # And four answers a test problem.
  assert [s['problems'] for s in index['sets']] == [['train0-0'], ['train1-0'], ['test0-0'], ['test1-0']]
  assert (index['problems'], index['chunks'], [s['chunk'] for s in index['sets']]) == (12, 4, [[0], [1], [2], [3]])
  assert len(list((root / layout.BROWSED).glob('*'))) == 5


def test_what_is_not_drawn_yet_is_not_there(root, make_workdir):
  (root / layout.verdicts(0, 'wc') / layout.MANIFEST).unlink()
  write(root)
  (root / layout.scores(layout.TEST, 0, 'student', 'wc_low') / layout.MANIFEST).unlink()
  write(root)
  assert [list(s['states']) for s in data(root)[0]['sets'][:2]] == [['se'], ['wc', 'se']]
  assert ['student on wc_low' in s['states'] for s in data(root)[0]['sets'][2:]] == [False, True]
