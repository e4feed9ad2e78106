from __future__ import annotations

import collections
import csv
import html.parser
import json

import pytest
from etils import epath

from sweb_jax import analysis, layout, records
from sweb_jax.analysis import AnalysisError, label_page, labels
from sweb_jax.records import Problem, Sample, Verdict
from sweb_jax.runtime import files, manifest
from tests import forked


class Page(html.parser.HTMLParser):
  """The items that a page holds, and how many scripts it has."""

  def __init__(self, text):
    super().__init__()
    self.scripts, self.items = 0, None
    self.feed(text)

  def handle_starttag(self, tag, attrs):
    self.scripts += tag == 'script'
    assert not {'src', 'href'} & {name for name, _ in attrs}

  def handle_data(self, data):
    if self.lasttag == 'script' and self.items is None:
      self.items = json.loads(data)


def row(index=0, problem='train0-0', generator='wc', question_set=0, label='right'):
  return {
    'generator': generator, 'question_set': question_set, 'problem_id': problem, 'index': index, 'label': label
  }


def save(path, rows):
  path.write_text(''.join(json.dumps(r) + '\n' for r in rows))
  return path


@pytest.fixture
def study(make_workdir):
  return analysis.read_study(make_workdir('study_only'))


def test_solutions_are_chosen_by_the_share_of_their_stratum(tmp_path, study):
  problems = [Problem(f'p{i}', 'q', '7', level='easy' if i < 30 else 'hard') for i in range(100)]
  verdicts = [
    Verdict(p.id, j, '7', j != 3, '', valid=None if j == 3 else j != 2) for p in problems for j in range(4)
  ]
  graded = tmp_path / layout.verdicts(0, 'wc') / layout.numbered(layout.VERDICTS, 0)
  for path, rows in (
    (tmp_path / layout.problems(0, 'train') / layout.PROBLEMS, problems),
    (graded, verdicts),
    (
      tmp_path / layout.samples(0, 'wc') / layout.numbered(layout.CHUNKS, 0),
      [Sample(v.problem_id, v.index, 'x', (1,), 'stop', 0.0) for v in verdicts],
    ),
  ):
    files.write_text(path, records.dumps(rows))
  chosen = label_page.choose(tmp_path, study, seed=0)
  assert len(chosen) == label_page.COUNT == len({(i.problem_id, i.index) for i in chosen})
  # 300 correct ones: easy 30 wrong and 60 right steps, hard 70 and 140; of 50 that is 5, 10, 11 2/3 and 23 1/3.
  counts = collections.Counter((int(i.problem_id[1:]) < 30, i.index == 2) for i in chosen)
  for stratum, share in {(True, True): 5, (True, False): 10, (False, True): 35 / 3, (False, False): 70 / 3}.items():
    assert abs(counts[stratum] - share) < 1
  graded.write_text(records.dumps(verdicts[::-1]))
  assert label_page.choose(tmp_path, study, seed=0) == chosen
  assert label_page.choose(tmp_path, study, seed=1) != chosen


def test_the_page_holds_the_texts_as_they_are(make_workdir, study):
  root = make_workdir()
  items = label_page.choose(root, study, seed=0)
  # All correct ones: 5 of wc, 1 of se.
  assert collections.Counter(i.generator for i in items) == {'wc': 5, 'se': 1}
  items[0] = label_page.Item('wc', 0, 'p', 0, '</script><script>alert(1)</script>', '7', '<!--', '\u2028 & "')
  page = Page(label_page.render(items, 'a <study>'))
  assert page.scripts == 2
  assert page.items[0]['problem'] == '</script><script>alert(1)</script>'
  assert (page.items[0]['solution'], page.items[0]['candidate']) == ('<!--', '\u2028 & "')


def test_rates_are_what_one_counts_by_hand(make_workdir, tmp_path):
  root = make_workdir()
  # Valid are (set 0) 0-0 and 0-1 and (set 1) 0-0; (set 0) 1-2 and (set 1) 0-1 are not.
  path = save(tmp_path / 'labels.jsonl', [
    row(0), row(1, label='wrong'), row(2, 'train0-1', label='wrong'),
    row(0, 'train1-0', question_set=1), row(1, 'train1-0', question_set=1, label='unsure'),
  ])  # fmt: skip
  labels.keep(root, path)
  (table,) = labels.build(epath.Path(root), analysis.read_study(root))
  (found,) = [dict(zip(table.columns, r, strict=True)) for r in table.rows]
  assert [found[c] for c in ('generator', 'labelled', 'right', 'wrong', 'unsure')] == ['wc', 5, 2, 2, 1]
  assert (found['FPR'], found['agreement'], found['checked']) == (0.5, 0.75, 4)
  # Wilson's interval of 2 in 4.
  assert (found['FPR low'], found['FPR high']) == (0.15, 0.85)
  said = manifest.Manifest('v', 'report', 1, {}, {}, {}, done=True, files={'index.html': (1, 'of before')})
  manifest.write(epath.Path(root), layout.REPORT, said)
  command = ('-m', 'sweb_jax.analysis', 'labels', root, f'--labels={path}')
  run = forked.run(*command)
  assert run.returncode == 0 and '0.500 [0.150, 0.850]' in run.stdout
  assert 'What a person says of the reasoning' in (root / layout.INDEX).read_text()
  sums = manifest.read(epath.Path(root), layout.REPORT).files  # Nothing is taken for damage afterwards.
  assert sums['index.html'][1] == manifest.checksum(epath.Path(root) / layout.INDEX) and 'samples/index.js' in sums
  path.write_text('{"generator": ')
  run = forked.run(*command)
  assert run.returncode == 1 and 'labels.jsonl, line 1: not JSON' in run.stderr and 'Traceback' not in run.stderr


@pytest.mark.parametrize(
  'rows, message',
  [
    ([row(label='maybe')], r"line 1: label is 'maybe'; labels are right, wrong, unsure"),
    ([row(), row(label='wrong')], 'line 2: the solution was labelled on an earlier line'),
    ([row(generator='me')], "line 1: generator 'me'; this study has wc, se"),
    ([row(), row(2)], 'line 2: .* has no correct solution'),
    ([row(index='0')], "line 1: index is '0'; expected what"),
    ([], 'no label in it'),
  ],
)
def test_a_file_that_is_not_of_this_workdir_is_refused(make_workdir, tmp_path, rows, message):
  with pytest.raises(AnalysisError, match=message):
    labels.keep(make_workdir(), save(tmp_path / 'labels.jsonl', rows))


def test_labels_flow_into_the_report_and_the_page_of_samples(make_workdir, tmp_path):
  root = epath.Path(make_workdir())
  first = save(tmp_path / 'first.jsonl', [row(0), row(1, label='unsure'), row(2, 'train0-1', label='wrong')])
  assert labels.keep(root, first).startswith('3 labels taken, 0 of them instead of another')
  second = save(tmp_path / 'second.jsonl', [row(1, label='wrong'), row(0, generator='se', label='right')])
  assert labels.keep(root, second).startswith('2 labels taken, 1 of them instead of another')
  built = {table.name: table for table in analysis.write(root)}
  assert [built['labels'].column(c) for c in ('generator', 'wrong')] == [['wc', 'se'], [2, 0]]
  # wc_low holds the first two samples of a problem: one of its two labelled ones is wrong.
  header, *rows = csv.reader((root / layout.FIGURES / 'false_positives.csv').read_text().splitlines())
  found = {r['arm']: r for r in (dict(zip(header, r, strict=True)) for r in rows) if r['by'] == 'person'}
  assert (found['wc_low']['FPR'], found['wc_low']['judged']) == ('0.5', '2')
  assert (found['se_low']['FPR'], found['se_low']['judged']) == ('0.0', '1')
  assert 'reasoning wrong by a person' in (root / layout.BROWSED / 'texts-000000.js').read_text()
  assert analysis.read_tables(root) == list(built.values())


@pytest.mark.parametrize('kept', [False, True], ids=['that is given', 'of the workdir'])
def test_a_torn_file_is_named_with_its_line_and_what_to_do_which_works(make_workdir, tmp_path, kept):
  root = epath.Path(make_workdir())
  path = save(tmp_path / 'labels.jsonl', [row(0), row(1, label='unsure')])
  if kept:
    labels.keep(root, path)
    path = root / layout.LABELS
  whole = path.read_text()
  path.write_text(whole[:-9])

  def use():
    return labels.build(root, analysis.read_study(root)) if kept else labels.keep(root, path)

  with pytest.raises(AnalysisError, match=r'labels\.jsonl, line 2: not JSON.*; delete this line, or have report/label'):
    use()
  path.write_text(whole.splitlines()[0] + '\n')
  assert use()
  path.write_text(whole)
  assert use()


def test_labels_of_what_is_not_there_any_more_are_counted(make_workdir, tmp_path):
  root = epath.Path(make_workdir())
  labels.keep(root, save(tmp_path / 'labels.jsonl', [row(0), row(0, generator='se')]))
  with (root / layout.LABELS).open('a') as file:
    file.write(json.dumps(row(0, generator='gone')) + '\n' + json.dumps(row(7)) + '\n')
  (table,) = labels.build(root, analysis.read_study(root))
  assert table.column('labelled') == [1, 1]
  assert '2 labels are of solutions that this workdir does not hold' in table.note
  (root / layout.LABELS).write_text('{"generator": 3}\n')
  with pytest.raises(AnalysisError, match=r'labels\.jsonl, line 1: generator is 3'):
    analysis.write(root)
