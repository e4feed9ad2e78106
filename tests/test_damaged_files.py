"""Whatever stands in a file, its reader gives rows or its own error, in little time and memory: a test a reader."""

from __future__ import annotations

import contextlib
import functools
import io
import json
import shlex
import shutil
import subprocess
import time
import tracemalloc
from collections.abc import Callable
from pathlib import Path
from typing import Any

import httpx
import openai
import pytest
from etils import epath
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from rich.console import Console

from benchmarks.readers import ODD, READERS, damage
from launch import commands, process, watch
from launch import pod as pod_lib
from launch.chips import LaunchError
from sweb_jax import layout, records, status
from sweb_jax.analysis.study import AnalysisError, read_study
from sweb_jax.budget import ledger, simulate
from sweb_jax.budget.cost import BudgetError
from sweb_jax.export import rows as export_rows
from sweb_jax.records import RecordError, Sample
from sweb_jax.sampling.endpoint import Ask, Endpoint, EndpointError, Purse
from sweb_jax.study import check

SECONDS, MEGABYTES = 20.0, 64  # CPU seconds and memory of one file: what grows without bound takes more.
FUZZ = settings(
  max_examples=80,
  deadline=None,
  database=None,
  derandomize=True,
  suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow],
)

def damaged(sound: bytes) -> st.SearchStrategy[bytes]:
  return st.randoms(use_true_random=False).map(lambda choose: damage(choose, sound))


def read_or_refused(read: Callable[[], Any], *errors: type[Exception]) -> None:
  """Reads; fails where that raises anything but `errors`, takes long or much memory, or tells of it at length."""
  begun = time.thread_time()
  tracemalloc.start()
  try:
    read()
  except errors as e:
    assert 0 < len(str(e)) < 2000, repr(e)
  finally:
    _, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()
  assert time.thread_time() - begun < SECONDS and peak < MEGABYTES * 1e6


@functools.cache
def good(name: str) -> bytes:
  if name == 'gguf':
    pytest.importorskip('gguf')
  return READERS[name].good()


@pytest.mark.parametrize('name', READERS)
@FUZZ
@given(data=st.data())
def test_a_file_is_read_or_refused(tmp_path, name, data):
  reader = READERS[name]
  read_or_refused(functools.partial(reader, tmp_path, data.draw(damaged(good(name)))))


@pytest.mark.parametrize('name', READERS)
def test_a_sound_file_is_no_refusal(tmp_path, name):
  READERS[name].read(tmp_path, good(name))  # Which raises refusals, too.


# A whole workdir ------------------------------------------------------------------------------------------------------


@pytest.fixture(scope='module')
def workdir(done, tmp_path_factory) -> Path:
  """A copy of a finished workdir, in which one file at a time is damaged."""
  return Path(shutil.copytree(done, tmp_path_factory.mktemp('damaged') / 'workdir'))


COMMANDS: dict[str, Callable[[Path], Any]] = {
  'status': lambda root: status.show(epath.Path(root), Console(file=io.StringIO())),
  'check': lambda root: check.check(epath.Path(root)),
  'spent': lambda root: ledger.read(root),
  'simulate': simulate.read_records,
  'export': lambda root: export_rows.examples(export_rows.open_data(root, 'wc_low', 0)),
}


@pytest.mark.slow
@pytest.mark.parametrize('name', COMMANDS)
@settings(FUZZ, max_examples=20)
@given(data=st.data())
def test_commands_read_a_damaged_workdir_or_refuse_it(workdir, name, data):
  small = sorted(
    p for p in workdir.rglob('*') if p.suffix in ('.json', '.jsonl') and 'report' not in p.parts and p.stat().st_size
  )
  path = data.draw(st.sampled_from(small))
  good = path.read_bytes()
  rows = good if path.suffix == '.jsonl' else json.dumps(json.loads(good)).encode()
  path.write_bytes(data.draw(damaged(rows)))
  try:
    COMMANDS[name](workdir)
  except (AnalysisError, BudgetError, RecordError, export_rows.ExportError) as e:
    assert str(e)
  finally:
    path.write_bytes(good)


@FUZZ
@given(data=st.data())
def test_a_status_is_shown_whatever_the_last_run_left(workdir, data):
  path = workdir / layout.PROGRESS
  good = path.read_bytes()
  path.write_bytes(data.draw(damaged(json.dumps(json.loads(good)).encode())))
  said = io.StringIO()
  try:
    status.show(epath.Path(workdir), Console(file=said))
  finally:
    path.write_bytes(good)
  assert 'Tokens so far' in said.getvalue()


@FUZZ
@given(data=st.data())
def test_a_study_is_read_or_refused(workdir, tmp_path, data):
  row = json.loads((workdir / layout.STUDY).read_text())
  (tmp_path / layout.STUDY).write_bytes(data.draw(damaged(json.dumps(row).encode())))
  read_or_refused(lambda: read_study(tmp_path).json(), AnalysisError)


# What others answer ---------------------------------------------------------------------------------------------------

REPLIES = {
  True: {'choices': [{'message': {'role': 'assistant', 'content': '5'}, 'finish_reason': 'stop', 'index': 0}]},
  False: {'choices': [{'text': '5', 'finish_reason': 'length', 'index': 0}, {'text': ' x', 'finish_reason': 'stop'}]},
}


@pytest.mark.parametrize('chat', [True, False])
@FUZZ
@given(data=st.data())
def test_a_server_s_reply_is_samples_or_an_error_that_names_it(chat, data):
  """By the client library, over no network."""
  reply = REPLIES[chat] | {'usage': {'prompt_tokens': 9, 'completion_tokens': 12}, 'id': 'x', 'model': 'm'}
  body = data.draw(damaged(json.dumps(reply).encode()))
  transport = httpx.MockTransport(
    lambda request: httpx.Response(200, headers={'Content-Type': 'application/json'}, content=body)
  )
  endpoint = Endpoint(
    'pro', 'http://server/v1', 'm', '', 'KEY', chat, 16, 0.7, 1.0, 0, ('Q:',), concurrency=1, retries=0
  )
  client = openai.OpenAI(
    base_url=endpoint.url, api_key='none', max_retries=0, http_client=httpx.Client(transport=transport)
  )
  endpoint.__dict__['_client'] = client
  purse, samples = Purse(0), []
  purse.begin((1.0, 1.0), lambda: 0.0)

  def read() -> None:
    for found in endpoint.draw([Ask('a', 'How many?', (0,), None)], purse, lambda: False):
      assert type(found.prompt_tokens) is int
      samples.extend(found.samples)

  read_or_refused(read, EndpointError)
  for sample in samples:
    assert records.from_json(Sample, records.to_json(sample).encode()) == sample
    assert len(sample.tokens) <= endpoint.max_new_tokens


POD = {
  'project': 'my-project', 'zone': 'us-west4-a', 'accelerator': 'v5e-64', 'workdir': 'gs://my-bucket/runs/one',
}  # fmt: skip
HOSTILE = st.sampled_from(
  [
    'x; id', '$(id)', '`id`', "a'b", 'a"b', '^|||^startup-script=id', '|||ssh-keys=x', 'a,b', '--quiet', '-x', 'a b',
    'a\nb', 'gs://b/../x', 'gs://b/*', 'https://x/y|||z', 'a' * 3000, '\0', '../x.py', 'é', '{project}', '%s', '',
  ]
)  # fmt: skip


@FUZZ
@given(data=st.data())
def test_a_pod_s_config_gives_commands_that_arrive_as_they_are_or_is_refused(data):
  config = pod_lib.default()
  config.update(POD)
  places = [(section, field) for section in (config, config.study, config.watch, config.gke) for field in section]
  for section, field in data.draw(st.lists(st.sampled_from(places), min_size=1, max_size=2)):
    value = data.draw(HOSTILE | st.sampled_from(ODD) | st.text(max_size=20).map(f'{section[field]}'.__add__))
    with contextlib.suppress(OverflowError), section.ignore_type():  # A number that no float holds.
      section[field] = value

  def read() -> None:
    pod = pod_lib.parse(config)
    for argv in (commands.create(pod), commands.run(pod), commands.delete(pod)):
      assert shlex.split(shlex.join(argv)) == argv and not any('\0' in a for a in argv)
      metadata = [a for a in argv if a.startswith('--metadata=')]
      assert all(a.split('^|||^')[1].count('|||') == 0 for a in metadata)
    assert subprocess.run(['bash', '-n', '-c', commands.boot_script(pod)], check=False).returncode == 0

  read_or_refused(read, LaunchError)


STATES = (
  {'state': 'READY'},
  {'state': {'state': 'FAILED', 'failedData': {'error': {'code': 8, 'message': 'no more capacity'}}}},
)


@FUZZ
@given(data=st.data())
def test_what_gcloud_says_of_a_pod_is_a_state_or_an_error(monkeypatch, data):
  said = data.draw(damaged(json.dumps(data.draw(st.sampled_from(STATES))).encode())).decode(errors='replace')
  monkeypatch.setattr(process, 'call', lambda argv, seconds: subprocess.CompletedProcess(argv, 0, said, ''))
  config = pod_lib.default()
  config.update(POD)
  patience = watch.Patience(1, 1, 2, 1, 1)
  looking = watch._Watch(pod_lib.parse(config), patience, lambda seconds: None, lambda text: None)

  def read() -> None:
    state, message = looking._state()
    assert isinstance(state, str) and isinstance(message, str)

  read_or_refused(read, LaunchError)
