from __future__ import annotations

import io
import re
import shutil
from html.parser import HTMLParser

import pytest
from rich.console import Console

from sweb_jax import analysis

VOID = {'meta', 'br', 'hr', 'link', 'img'}


class Page(HTMLParser):
  """Checks that tags nest, and collects tags, ids and attributes that fetch something."""

  def __init__(self, text: str):
    super().__init__()
    self.open, self.tags, self.ids, self.links = [], set(), [], []
    self.feed(text)
    self.close()
    assert not self.open

  def handle_starttag(self, tag, attrs):
    self.tags.add(tag)
    if tag not in VOID:
      self.open.append(tag)
    self.note(attrs)

  def handle_startendtag(self, tag, attrs):
    self.tags.add(tag)
    self.note(attrs)

  def handle_endtag(self, tag):
    assert self.open.pop() == tag

  def note(self, attrs):
    for name, value in attrs:
      if name == 'id':
        self.ids.append(value)
      if name in ('href', 'src', 'action', 'data', 'xlink:href') or 'http' in (value or ''):
        self.links.append(value)


def tree(root):
  return {p.relative_to(root).as_posix(): p.read_bytes() for p in sorted(root.rglob('*')) if p.is_file()}


@pytest.fixture
def report(make_workdir):
  root = make_workdir()
  analysis.write(root)
  return root / 'report'


def test_the_page_is_well_formed_and_asks_for_nothing_outside(report):
  text = (report / 'index.html').read_text()
  page = Page(text)
  assert text.count('<script') == 1 and "default-src 'none'" in text
  assert 'svg' in page.tags
  inside = {link for link in page.links if link.startswith('#')}
  assert all((report / link.partition('#')[0]).is_file() for link in set(page.links) - inside)
  assert 'url(http' not in text and '@import' not in text
  assert len(page.ids) == len(set(page.ids))
  assert {link[1:] for link in inside} <= set(page.ids)


def test_model_text_is_escaped(report):
  text = (report / 'index.html').read_text()
  assert text.count('<script') == 1
  assert '&lt;script&gt;alert(&quot;x&quot;)&lt;/script&gt; &amp; https://example.org' in text
  assert 'hand-made &lt;study&gt;' in text


def test_the_page_says_what_a_reader_must_know(report):
  text = (report / 'index.html').read_text()
  assert 'Under the low budget it is undecided whether data from WC (2 samples a problem) or from SE (1 sample' in text
  assert 'made world' in text
  assert 'config.sampling.seed' in text
  assert 'question 0 &lt; 3 ?' in text


def test_problems_are_shown_as_the_model_sees_them(make_workdir):
  root = make_workdir()
  analysis.write(root, prompt=lambda problem: f'Q: {problem.text} A:')
  assert 'Q: question 0 &lt; 3 ? A:' in (root / 'report/index.html').read_text()


@pytest.mark.slow
def test_two_studies_write_the_same_bytes(make_workdir):
  one, two = make_workdir('one'), make_workdir('two')
  analysis.write(one)
  analysis.write(two)
  analysis.write(one)
  files = tree(one / 'report')
  assert files == tree(two / 'report')
  assert {name for name in files if not name.startswith('figures/')} == {
    'index.html',
    'label.html',
    'samples.html',
    'samples/index.js',
    *(f'samples/texts-{i:06}.js' for i in range(4)),  # Of two question sets, training and test problems.
    *(
      f'tables/{name}.{ending}'
      for name in (
        *('answer', 'differences', 'data', 'data_differences', 'accuracy', 'minus_base', 'pass_k'),
        *('by_level', 'one_sided'),
        *('spent', 'arms', 'charged', 'filters', 'models'),
      )
      for ending in ('csv', 'json')
    ),
  }


def test_nothing_is_written_for_a_damaged_workdir(make_workdir):
  root = make_workdir()
  (root / 'scores/test/set1/student/gold/rate_0.0025/drawn/chunk-000000.jsonl').unlink()
  with pytest.raises(analysis.AnalysisError, match=r'drawn/chunk-\*.jsonl is missing.*--repair'):
    analysis.write(root)
  assert not (root / 'report').exists()


@pytest.mark.parametrize(
  ('lost', 'tables', 'said'),
  [
    (['models', 'scores'], {'data', 'data_differences', 'one_sided'}, ['train', 'evaluate']),
    (
      ['models/set1/student/gold', 'scores/test/set1', *(f'scores/test/set0/student/{a}' for a in ('gold', 'se_low'))],
      {'data', 'accuracy', 'minus_base', 'pass_k'},
      ['train', 'evaluate'],
    ),
    (
      ['samples/set1/wc', 'verdicts/set0/se', 'models', 'scores'],
      {'data', 'spent'},
      ['sample', 'grade', 'train', 'evaluate'],
    ),
    (
      ['samples', 'problems', 'verdicts', 'models', 'scores'],
      {'spent'},
      ['plan', 'sample', 'grade', 'train', 'evaluate'],
    ),
  ],
  ids=['before training', 'training was killed', 'sampling was killed', 'a plan'],
)
def test_an_unfinished_workdir_has_a_report_of_what_is_done(make_workdir, lost, tables, said):
  """And the whole one, once it is finished: nothing of the first is left."""
  root, whole = make_workdir(), make_workdir('whole')
  kept = {p: p.read_bytes() for p in root.rglob('*') if p.is_file()}
  for path in lost:
    shutil.rmtree(root / path)
  built = {table.name: table for table in analysis.write(root)}
  assert {name for name, table in built.items() if table.rows} >= tables
  assert ('svg' in Page((root / 'report/index.html').read_text()).tags) == ('data' in tables)
  missing = analysis.read(root).missing
  assert [re.search(r'of the stage (\w+) are', line)[1] for line in missing] == said
  out = io.StringIO()
  analysis.show(list(built.values()), Console(file=out, width=140), missing)
  assert f'Not finished: {missing[0]}' in ' '.join(out.getvalue().split())
  for path, content in kept.items():
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(content)
  assert analysis.read(root).missing == ()
  analysis.write(root)
  analysis.write(whole)
  assert tree(root / 'report') == tree(whole / 'report')


def test_written_tables_are_read_back(make_workdir):
  root = make_workdir()
  with pytest.raises(analysis.AnalysisError, match='run the stage report'):
    analysis.read_tables(root)
  assert analysis.write(root) == analysis.read_tables(root)


def test_a_study_of_one_model_has_a_report(make_workdir):
  root = make_workdir(compare=False)
  built = analysis.write(root)
  # Gold beats the base by 1.0 and .75; two sets do not decide it.
  assert analysis.answer(built).startswith('Fine-tuning raised greedy accuracy in 0 of 3 cases, lowered it in 0, 3 und')
  assert 'Fine-tuning raised' in (root / 'report/index.html').read_text()


def test_the_terminal_form_is_short_and_takes_no_markup(make_workdir):
  out = io.StringIO()
  built = analysis.write(make_workdir())
  analysis.show(built, Console(file=out, width=110))
  text = out.getvalue()
  assert 'Under the low budget it is undecided whether data from WC' in ' '.join(text.split())
  assert '0.625' in text
  assert len(text.splitlines()) < 40
  assert max(map(len, text.splitlines())) <= 110
