"""A server as a generator of a study: every reply is kept at once, and a stopped run pays for none twice."""

from __future__ import annotations

import json
import runpy
from pathlib import Path

import pytest

from sweb_jax import analysis, budget, layout
from sweb_jax.config import ConfigError
from sweb_jax.sampling.endpoint import EndpointError
from sweb_jax.study import opened

pytest.importorskip('openai', reason='needs the extra endpoint')
Server = runpy.run_path(str(Path(__file__).parents[1] / 'sampling/test_endpoint.py'))['Server']
PRICES = {'wc': (1.0, 2.0), 'se': (1.0, 4.0)}
KEY = 'sk-very-secret'


@pytest.fixture
def server():
  made = Server()
  yield made
  made.close()


@pytest.fixture
def config(runs, server, monkeypatch):
  monkeypatch.setenv('SWEB_ENDPOINT_KEY', KEY)

  def made(**changes):
    models = {'wc': f'endpoint:{server.url}#m', 'se': 'embedded:se', 'student': 'embedded:student'}
    fields = {'models': models, 'learners': ('student',), 'budgets': {'low': {'wc': 2}}}
    fields |= {'cost__name': 'price', 'cost__prices': PRICES}
    return runs.tiny(**fields | {'endpoints': {'wc': {'concurrency': 1}}} | changes)

  return made


STAGES = ('plan', 'sample', 'grade')


def test_a_run_that_is_cut_short_goes_on_without_asking_again(runs, config, server, tmp_path):
  server.tricks = ['good'] * 5 + ['refused']
  with pytest.raises(EndpointError, match='SWEB_ENDPOINT_KEY'):
    runs(tmp_path / 'workdir', config(), STAGES)
  folder = tmp_path / 'workdir' / layout.samples(0, 'wc')
  assert len(list(folder.glob(layout.CHUNKS))) == 5
  assert sum(e.tokens['completion'] for e in budget.read(tmp_path / 'workdir') if e.model == 'wc') == 5 * 4
  said = runs(tmp_path / 'workdir', config(), STAGES)
  assert len(server.asked) == 24 + 1  # Two samples of 12 problems, and the one that was refused.
  assert f"wc is 'm' at {server.url}: its samples cannot be made again from a seed." in said


def test_the_prompt_is_charged_with_every_request(runs, config, server, tmp_path):
  runs(tmp_path / 'workdir', config(endpoints={'wc': {'n': 2}}), STAGES)
  charged = [e.tokens for e in budget.read(tmp_path / 'workdir') if e.model == 'wc']
  assert sum(t['completion'] for t in charged) == 24 * 4
  assert sum(t['prompt'] for t in charged) == 12 * 7 == 7 * len(server.asked)
  drawn = budget.by_model(budget.read(tmp_path / 'workdir'))['wc']
  assert budget.dollars(PRICES['wc'], drawn) == pytest.approx((12 * 7 * 1 + 24 * 4 * 2) * 1e-6)


def test_the_key_is_in_no_file_and_nothing_that_is_printed(runs, config, server, tmp_path):
  server.tricks = ['good'] * 3 + ['refused']
  with pytest.raises(EndpointError) as e:
    runs(tmp_path / 'workdir', config(), STAGES)
  said = runs(tmp_path / 'workdir', config(), (*STAGES, 'report'))
  assert set(server.keys) == {f'Bearer {KEY}'}
  written = b''.join(p.read_bytes() for p in (tmp_path / 'workdir').rglob('*') if p.is_file())
  assert KEY not in f'{e.value}{said}' and KEY.encode() not in written
  assert 'cannot be made again from a seed' in (tmp_path / 'workdir' / layout.INDEX).read_text()
  assert analysis.read_study(tmp_path / 'workdir').elsewhere


def test_the_keys_of_a_vendor_go_to_no_other_server(runs, config, server, tmp_path, monkeypatch):
  monkeypatch.delenv('SWEB_ENDPOINT_KEY')
  monkeypatch.setenv('OPENAI_API_KEY', KEY)
  runs(tmp_path / 'workdir', config(), ('plan', 'sample'))
  assert set(server.keys) == {'Bearer none'}


def test_a_limit_ends_the_run_and_a_higher_one_goes_on(runs, config, server, tmp_path):
  limited = {'wc': {'concurrency': 1, 'limit': 3e-4}}
  with pytest.raises(EndpointError, match=r'config\.endpoints\.wc\.limit=0\.0003 dollars'):
    runs(tmp_path / 'workdir', config(endpoints=limited), STAGES)
  before = len(server.asked)
  assert 0 < before < 24
  with pytest.raises(EndpointError, match='are spent'):  # What was spent before counts.
    runs(tmp_path / 'workdir', config(endpoints=limited), STAGES)
  assert len(server.asked) == before
  runs(tmp_path / 'workdir', config(endpoints={'wc': {'limit': 1.0}}), STAGES)
  assert len(server.asked) == 24


def test_another_place_of_a_server_is_no_other_model(runs, config, server, tmp_path):
  runs(tmp_path / 'workdir', config(), ('plan', 'sample'))
  moved = config()
  moved.models.wc = moved.models.wc.replace('127.0.0.1', 'localhost')
  runs(tmp_path / 'workdir', moved, ('plan', 'sample'))
  assert len(server.asked) == 24


def test_a_policy_asks_beyond_what_every_problem_has(runs, config, server, tmp_path):
  policies = {'until': {'kind': 'until_solved', 'generators': ('wc',)}}
  runs(tmp_path / 'workdir', config(policies=policies), STAGES)
  held = json.loads((tmp_path / 'workdir' / layout.allocation(0, 'until_low') / layout.ALLOCATION).read_text())
  assert held['each'] == {'wc': 1} and set(held['prompts']['wc'].values()) == {7}
  assert held['charged'] <= held['budget'] + 1e-4


@pytest.mark.parametrize(
  ('changes', 'words'),
  [
    ({'models': {'wc': 'endpoint:localhost#m'}}, r"config\.models\.wc='endpoint:localhost#m': give 'endpoint:URL"),
    ({'models': {'wc': 'endpoint:http://x/v1'}}, r'config\.models\.wc=.*URL#MODEL'),
    ({'models': {'wc': 'endpoint:http://me:pass@x/v1#m'}}, r'config\.models\.wc: the URL holds a password'),
    ({'endpoints': {'wc': {'n': 0}}}, r'config\.endpoints\.wc\.n=0: must be positive'),
    ({'endpoints': {'wc': {'key': 5}}}, r'config\.endpoints\.wc\.key=5: is of a wrong type'),
    ({'endpoints': {'wc': {'keys': ''}}}, r'config\.endpoints\.wc=.*its fields are n, concurrency'),
    ({'endpoints': {'wc': {'limit': 1.0}}, 'cost__prices': {}, 'cost__name': 'tokens'}, r'config\.cost\.prices\.wc'),
    ({'learners': ('wc',)}, r'wc is an endpoint, which can be a generator only'),
  ],
)
def test_what_makes_no_sense_is_refused_by_its_field(config, changes, words):
  if 'models' in changes:
    changes['models'] |= {'se': 'embedded:se', 'student': 'embedded:student'}
  with pytest.raises(ConfigError, match=words):
    opened.open_study(config(**changes))
