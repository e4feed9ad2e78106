"""The pages of a report in headless Chromium: on a phone and on a screen, by day and by night, by keys alone."""

from __future__ import annotations

import dataclasses
import json

import pytest
from etils import epath

from sweb_jax import analysis, layout, records
from sweb_jax.analysis import browsed, labels, samples_page
from sweb_jax.records import Sample
from sweb_jax.runtime import files
from tests.analysis.chromium import OVERFLOW, PROGRAM, Chromium

pytestmark = pytest.mark.skipif(PROGRAM is None, reason='no Chromium is on PATH (Debian: apt install chromium)')

HOSTILE = '<img src=x onerror="document.body.dataset.hit=1"><script>document.body.dataset.hit=1</script>' + 'w' * 500
PAGES = (layout.INDEX, layout.BROWSER, layout.LABEL)


@pytest.fixture(scope='module')
def browser(tmp_path_factory):
  found = Chromium(tmp_path_factory.mktemp('chromium'))
  yield found
  found.close()


@pytest.fixture(scope='module')
def root(write_workdir, tmp_path_factory):
  """A report in which a model wrote HTML and a very long word."""
  root = epath.Path(write_workdir(tmp_path_factory.mktemp('report') / 'work'))
  for path in (root / layout.samples(0, 'se')).glob(layout.CHUNKS):
    path.write_text(records.dumps([dataclasses.replace(s, text=HOSTILE) for s in records.read(Sample, path)]))
  analysis.write(root)
  return root


def test_pages_fit_by_day_and_by_night_and_run_nothing_that_a_model_wrote(browser, root):
  for page in PAGES:
    for width, dark in ((390, False), (390, True), (1280, False), (1280, True)):
      browser.open((root / page).as_uri(), width, dark)
      browser.wait("document.body.textContent.includes('onerror')")
      if width < 700 and page == layout.INDEX:  # On a phone tables are folded, until they are asked for.
        assert browser.js("document.querySelectorAll('details[open]').length") == 0
        browser.js("document.querySelectorAll('details').forEach(d => { d.open = true; })")
      assert browser.js('document.documentElement.scrollWidth') <= width, (page, width)
      assert browser.js(OVERFLOW) == [], (page, width)
      ground = browser.js('getComputedStyle(document.body).backgroundColor')
      assert (sum(json.loads(ground.replace('rgb(', '[').replace(')', ']'))) < 300) == dark
      assert browser.js('document.body.dataset.hit === undefined && !document.querySelector("img")')
  assert browser.problems == []


def test_tables_are_sorted_by_keys(browser, root):
  browser.open((root / layout.INDEX).as_uri(), 1280)
  browser.js("document.querySelector('#minus_base th:nth-child(2) button').focus()")
  column = "document.querySelector('#minus_base table').tBodies[0].rows"
  seen = []
  for _ in range(2):
    browser.press('Enter')
    seen.append(browser.js(f'[...{column}].map(row => row.cells[1].textContent)'))
  assert seen[0] == sorted(seen[0]) and seen[1] == seen[0][::-1] and len(set(seen[0])) > 1


def test_tables_are_sorted_by_a_tap_on_a_phone(browser, root):
  browser.open((root / layout.INDEX).as_uri(), 390)
  browser.js("document.getElementById('minus_base').open = true")
  browser.js("document.querySelector('#minus_base th:nth-child(2)').scrollIntoView({block: 'center'})")
  x, y, high = browser.js("""(() => {
    const box = document.querySelector('#minus_base th:nth-child(2) button').getBoundingClientRect();
    return [box.x + box.width / 2, box.y + box.height / 2, box.height];
  })()""")
  assert high >= 30  # Pixels, for a finger.
  for kind, points in (('touchStart', [{'x': x, 'y': y}]), ('touchEnd', [])):
    browser.call('Input.dispatchTouchEvent', type=kind, touchPoints=points)
  browser.wait("document.querySelector('#minus_base th:nth-child(2)').ariaSort === 'ascending'")
  column = "document.querySelector('#minus_base table').tBodies[0].rows"
  seen = browser.js(f'[...{column}].map(row => row.cells[1].textContent)')
  assert seen == sorted(seen) and len(set(seen)) > 1
  said = "getComputedStyle(document.querySelector('#minus_base th[aria-sort] button'), '::after').content"
  assert browser.js(said) == '" ▲"'
  assert browser.js(OVERFLOW) == []


def test_samples_are_found_by_their_verdict_and_by_an_address(browser, root):
  page = (root / layout.BROWSER).as_uri()
  browser.open(f'{page}#state=f&generator=wc', 1280)
  browser.wait("document.querySelectorAll('main .false').length === 2")
  assert browser.js("document.getElementById('place').textContent") == '1 to 2 of 2 samples'
  reached = []
  for _ in range(8):
    browser.press('Tab')
    reached.append(browser.js('document.activeElement.id'))
  assert reached[1:7] == ['state', 'of', 'generator', 'arm', 'set', 'problem']  # After the link to the report.
  browser.js("document.getElementById('state').value = 't'")
  browser.js("document.getElementById('state').dispatchEvent(new Event('input'))")
  browser.wait("document.querySelectorAll('main .cut').length === 1")
  assert 'state=t' in browser.js('location.hash')
  browser.open(page, 390)
  browser.wait("document.querySelectorAll('main pre').length > 14")
  assert browser.js("document.getElementById('place').textContent") == '1 to 20 of 48 samples'
  browser.open(f'{page}#of=test+problems&generator=student+on+wc_low&state=w&set=0', 390)
  browser.wait("document.querySelectorAll('main .wrong').length === 1")
  assert 'test problems, question set 0: problem test0-3' in browser.js("document.querySelector('main').textContent")
  assert browser.problems == []


def test_the_false_positives_behind_a_number_are_a_click_away(browser, root):
  """Of an arm's first samples, as the number is."""
  browser.open((root / layout.INDEX).as_uri(), 1280)
  rows = browser.js("[...document.querySelectorAll('#data tbody tr')].map(row => row.textContent)")
  assert any(row.startswith('wc_low') for row in rows)
  browser.js("document.querySelector('#data a[href*=\"arm=wc_low\"]').click()")
  browser.wait("document.querySelectorAll('main .false').length > 0")
  # wc_low has two samples a problem; the other false positive is a third.
  assert browser.js("document.getElementById('place').textContent") == '1 to 1 of 1 samples'
  assert browser.js("document.getElementById('arm').value") == 'wc_low'


def test_fifty_thousand_samples_are_filtered_at_once(browser, tmp_path):
  problems, count, states = [f'p{i}' for i in range(1_250)], 40, browsed.STATES
  found = {'set': 0, 'of': 'training problems', 'problems': problems, 'chunk': [0] * len(problems)}
  found['states'] = {'wc': ''.join(list(states)[i % 6] for i in range(len(problems) * count))}
  index = {'states': states, 'arms': {}, 'sets': [found], 'chunks': 1, 'problems': len(problems)}
  row = {'text': 'q', 'gold': '7', 'solution': '', 'level': '', 'samples': {'wc': [['x', None, '']] * count}}
  folder = epath.Path(tmp_path) / layout.BROWSED
  files.write_text(folder / layout.BROWSED_INDEX, f'const index = {json.dumps(index)};')
  chunk = f'texts(0, {json.dumps([row] * len(problems))});'
  files.write_text(folder / layout.numbered(layout.BROWSED_TEXTS, 0), chunk)
  files.write_text(epath.Path(tmp_path) / layout.BROWSER, samples_page.render('large'))
  browser.open((tmp_path / layout.BROWSER).as_uri() + '#state=f', 390)
  browser.wait("document.querySelectorAll('main .false').length === 20")
  assert browser.js("document.getElementById('place').textContent") == '1 to 20 of 8334 samples'
  took = browser.js('(() => { const start = performance.now(); filter(); return performance.now() - start; })()')
  assert took < 500  # Milliseconds, on a machine with other work; by itself it takes about one.
  browser.js("document.getElementById('next').focus()")
  browser.press('Enter')
  browser.wait("document.getElementById('place').textContent === '21 to 40 of 8334 samples'")
  assert browser.problems == []


def test_labels_go_from_keys_to_rates(browser, root, tmp_path):
  browser.open((root / layout.LABEL).as_uri(), 390)
  for key in ('2', '1', 'ArrowLeft', '3', '9'):
    browser.press(key)
  assert browser.js("document.getElementById('progress').textContent") == '2 of 6 labelled'
  saved = browser.js("""(() => {
    let lines;
    window.Blob = function(given) { lines = given; };
    URL.createObjectURL = () => '#';
    HTMLAnchorElement.prototype.click = () => {};
    save();
    return lines.join('');
  })()""")
  items = browser.js('items')
  keys = [{k: i[k] for k in ('generator', 'question_set', 'problem_id', 'index')} for i in items]
  # Wrong, then right, then back to the second, which becomes unsure.
  assert [json.loads(line) for line in saved.splitlines()] == [
    {**keys[0], 'label': 'wrong'}, {**keys[1], 'label': 'unsure'}
  ]
  (tmp_path / 'labels.jsonl').write_text(saved)
  assert labels.keep(root, tmp_path / 'labels.jsonl').startswith('2 labels taken')
  (table,) = labels.build(root, analysis.read_study(root))
  assert sum(table.column('labelled')) == 2
