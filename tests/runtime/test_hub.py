"""Models and data by their names on the hub, from a server on this machine that stands in for it."""

from __future__ import annotations

import hashlib
import http.server
import json
import os
import random
import subprocess
import sys
import threading
import urllib.parse
from pathlib import Path

import pytest

from sweb_jax.models import huggingface, sharding
from sweb_jax.models.source import open_model
from sweb_jax.runtime import hub
from sweb_jax.runtime.hub import HubError

ROOT = Path(__file__).parents[2]
COMMIT = 'c0ffee' * 6 + 'beef'
# What a user of the hub does in one process: a model, data, and a study of both.
SCRIPT = """
import json, runpy, sys
from ml_collections import ConfigDict
from sweb_jax.models.source import check_model
from sweb_jax.study import opened
tiny = runpy.run_path('tests/tiny_study.py')['tiny']
model, data = sys.argv[1:]
config = tiny(models=ConfigDict({n: f'embedded:{n}' for n in ('se', 'student')} | {'wc': model}), data_dir=data,
  transfer=ConfigDict({'own': {'task': 'jsonl', 'test': 3, 'files': {'test': 'own.jsonl'}, 'answer': 'number'}}))
study = opened.open_study(config)
print(json.dumps([check_model(model)[0].identity, study.config.data_dir,
  [p.text for p in study.tasks['transfer_own'].problems('test', 3, 0)],
  sorted({str(s.identities['wc']) for s in study.graph.steps if 'wc' in s.identities})]))
"""


# Fetches many names; what is no HubError ends it.
FETCH_ALL = """
import json, sys
from sweb_jax.runtime import hub
said = []
for i in range(int(sys.argv[1])):
  try:
    said.append(['', str(hub.fetch(f'hf:me/x{i}', 'model', hub.MODEL_FILES)[0])])
  except hub.HubError as e:
    said.append([str(e), ''])
print(json.dumps(said))
"""


class Hub(http.server.BaseHTTPRequestHandler):
  """As much of the hub's interface as fetching needs: what a name stands for, its files, and the files themselves."""

  repositories: dict[str, Path]
  asked: list[str]

  def do_HEAD(self):
    self.do_GET()

  def do_GET(self):
    path = urllib.parse.urlparse(self.path).path.strip('/')
    self.asked.append(path)
    kind, _, rest = path.removeprefix('api/').partition('/')
    if path.startswith('api/') and kind in ('models', 'datasets'):
      owner, name, what, revision = rest.split('/')[:4]
      folder = self.repositories.get(f'{kind}/{owner}/{name}')
      if folder is None or revision not in ('main', COMMIT):
        error = 'RepoNotFound' if folder is None else 'RevisionNotFound'
        return self._answer(b'{}', 404, {'X-Error-Code': error})
      found = [{'type': 'file', 'path': p.name, 'size': p.stat().st_size, 'oid': _oid(p)} for p in folder.iterdir()]
      said = {'id': f'{owner}/{name}', 'sha': COMMIT, 'siblings': [{'rfilename': f['path']} for f in found]}
      return self._answer(json.dumps(found if what == 'tree' else said).encode())
    kind, path = ('datasets', path.removeprefix('datasets/')) if path.startswith('datasets/') else ('models', path)
    owner, name, _, _, file = path.split('/')
    file = self.repositories[f'{kind}/{owner}/{name}'] / file
    return self._answer(file.read_bytes(), 200, {'ETag': f'"{_oid(file)}"', 'X-Repo-Commit': COMMIT})

  def _answer(self, body: bytes, code: int = 200, headers=()):
    self.send_response(code)
    for name, value in dict(headers).items():
      self.send_header(name, value)
    self.send_header('Content-Length', str(len(body)))
    self.end_headers()
    if self.command == 'GET':
      self.wfile.write(body)

  def log_message(self, *_):
    pass


def _oid(path: Path) -> str:
  return hashlib.sha1(path.read_bytes()).hexdigest()


@pytest.fixture
def stand_in(tmp_path):
  """Its address; it holds the model me/wc and the data me/own."""
  model, data = tmp_path / 'model', tmp_path / 'data'
  source = open_model('embedded:wc')
  params = source.load(sharding.make_mesh(), None)
  huggingface.save(model, source.config, params, source.tokenizer)
  (model / 'pytorch_model.bin').write_text('a pickle')
  data.mkdir()
  rows = ({'question': f'Find {i}.', 'answer': i} for i in range(5))
  (data / 'own.jsonl').write_text(''.join(json.dumps(row) + '\n' for row in rows))

  class Holding(Hub):
    repositories, asked = {'models/me/wc': model, 'datasets/me/own': data}, []

  server = http.server.ThreadingHTTPServer(('127.0.0.1', 0), Holding)
  threading.Thread(target=server.serve_forever, daemon=True).start()
  yield server, Holding
  server.shutdown()


def run(server, home: Path, *arguments: str, script: str = SCRIPT) -> subprocess.CompletedProcess:
  env = os.environ | {'HF_ENDPOINT': f'http://127.0.0.1:{server.server_port}', 'HF_HOME': str(home)}
  env |= {'PYTHONPATH': str(ROOT), 'JAX_PLATFORMS': 'cpu', 'HF_HUB_DISABLE_TELEMETRY': '1'}
  command = [sys.executable, '-c', script, *arguments]
  return subprocess.run(command, env=env, cwd=ROOT, capture_output=True, text=True)


@pytest.mark.slow
def test_models_and_data_come_by_name_are_named_by_their_commit_and_stay_when_the_hub_is_gone(stand_in, tmp_path):
  pytest.importorskip('huggingface_hub')
  server, hub_ = stand_in
  done = run(server, tmp_path / 'home', 'hf:me/wc', 'hf:me/own')
  assert done.returncode == 0, done.stderr
  expected = [f'hf:me/wc@{COMMIT}', f'hf:me/own@{COMMIT}']
  identity, data, texts, identities = json.loads(done.stdout)
  assert [identity, data] == expected and identities == [identity]
  assert sorted(texts) == sorted({*texts} & {f'Find {i}.' for i in range(5)})
  assert not any('pytorch_model.bin' in path for path in hub_.asked)
  server.shutdown()
  server.server_close()
  again = run(server, tmp_path / 'home', *expected)
  assert again.returncode == 0, again.stderr
  assert json.loads(again.stdout)[:2] == expected
  gone = run(server, tmp_path / 'empty', 'hf:me/wc', 'hf:me/own')
  assert gone.returncode == 1 and 'CheckpointError: hf:me/wc: cannot be fetched from the hub (' in gone.stderr
  assert 'a machine without internet needs a folder in its place' in gone.stderr


@pytest.mark.parametrize('source', ['hf:', 'hf:gemma', 'hf:a/b/c', 'hf:a/b@', 'hf:../x'])
def test_what_is_no_name_of_the_hub_is_refused_without_asking_it(source):
  with pytest.raises(HubError, match='names of the hub are hf:OWNER/NAME, or hf:OWNER/NAME@REVISION'):
    hub.fetch(source, 'model', hub.MODEL_FILES)


class Odd(Hub):
  """Answers what no hub would, by the name that is asked for: other types, names that lead outside, halves, no JSON."""

  asked: list[str]

  def do_GET(self):
    self.asked.append(self.path)
    chosen = random.Random(self.path)
    outside = '../../outside.json', '/outside.json', 'a/../../b.json'
    odd = [None, 7, -1.5, 'x', '', *outside, [], {}, [None], 'x' * 9999, COMMIT]
    name = chosen.choice(odd)
    good, bad = ({'type': 'file', 'size': 2, 'oid': '1', 'path': x, 'rfilename': x} for x in ('config.json', name))
    files = chosen.choice([[good], [good], odd, [bad], [good, bad], name, {'0': 1}])
    said = {'id': chosen.choice(['me/x', name]), 'sha': chosen.choice([COMMIT, COMMIT, name]), 'siblings': files}
    if '/tree/' in self.path:
      said = files
    body = json.dumps(chosen.choice([*[said] * 8, odd, name])).encode()
    body = chosen.choice([*[body] * 9, body[: len(body) // 2], b'\xff\x00', b'[' * 9999])
    etag = {'ETag': '"1"', 'X-Repo-Commit': COMMIT}
    headers = chosen.choice([etag, etag, {}, {'ETag': str(name)[:99], 'X-Repo-Commit': 'x'}])
    if '/resolve/' in self.path and chosen.random() < 0.8:
      return self._answer(b'{}', 200, etag)
    return self._answer(body, chosen.choice([*[200] * 9, 401, 404, 418]), headers)


@pytest.mark.slow
def test_whatever_a_hub_answers_there_is_a_folder_of_its_cache_or_one_line_and_nothing_outside(tmp_path):
  pytest.importorskip('huggingface_hub')
  Odd.asked = []
  server = http.server.ThreadingHTTPServer(('127.0.0.1', 0), Odd)
  threading.Thread(target=server.serve_forever, daemon=True).start()
  done = run(server, tmp_path / 'deep' / 'home', '120', script=FETCH_ALL)
  server.shutdown()
  assert done.returncode == 0, done.stderr
  said = json.loads(done.stdout)
  assert len(Odd.asked) > len(said) == 120
  assert {bool(message) for message, _ in said} == {True, False}  # Both ends were reached.
  for message, folder in said:
    assert '\n' not in message and len(message) < 600
    assert not folder or Path(folder).is_relative_to(tmp_path / 'deep' / 'home')
  assert [p.name for p in tmp_path.iterdir()] == ['deep']
  assert [p.name for p in (tmp_path / 'deep').iterdir()] == ['home']
