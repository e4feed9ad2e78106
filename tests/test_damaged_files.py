"""Whatever stands in a file, its reader gives rows or its own error, in little time and memory: a test a reader."""

from __future__ import annotations

import contextlib
import gzip
import importlib.resources
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
import pyarrow as pa
import pytest
from etils import epath
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from pyarrow import parquet
from rich.console import Console

from launch import commands, process, watch
from launch import pod as pod_lib
from launch.chips import LaunchError
from sweb_jax import layout, records, status
from sweb_jax.analysis.study import AnalysisError, read_study
from sweb_jax.analysis.table import Table
from sweb_jax.answers.judge import Opinion
from sweb_jax.budget import ledger, simulate
from sweb_jax.budget.cost import BudgetError
from sweb_jax.export import rows as export_rows
from sweb_jax.models import huggingface_tokenizer
from sweb_jax.models.tokenizer import Tokenizer, TokenizerError
from sweb_jax.records import Example, Problem, RecordError, Sample, Verdict
from sweb_jax.runtime import manifest
from sweb_jax.runtime.by_problem import ByProblem
from sweb_jax.sampling import Store, recorded
from sweb_jax.sampling.endpoint import Ask, Endpoint, EndpointError, Purse
from sweb_jax.study import check
from sweb_jax.tasks import Own, TaskError, grading, jsonl

SECONDS, MEGABYTES = 20.0, 64  # CPU seconds and memory of one file: what grows without bound takes more.
FUZZ = settings(
  max_examples=80,
  deadline=None,
  database=None,
  derandomize=True,
  suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow],
)

PROBLEM = Problem('train/1', 'How many?\n', '5', (' Five. "5"', ' \\boxed{5}'), 'Level 1')
SAMPLE = Sample('train/1', 3, ' é \\frac{1}{2} \u2028 "x"', (17, 4, 250_000, 1), 'stop', -1.25)
VERDICT = Verdict('train/1', 3, '5', True, 'right', None, '5', True, True, 'agrees', 0)
EXAMPLE = Example('train/1', 'Q: How many?\nA:', ' 5')
OPINION = Opinion('train/1', 3, True, 12, 40)
ENTRY = ledger.Entry('chunk-000000.jsonl', 'samples/set0/wc', 'wc', {'completion': 12}, 0.5)

ODD: list[Any] = [
  None, True, -1, 10**20, 10**400, 1.5, float('nan'), float('inf'), '', 'x', '\ud800', [], {}, [None], {'a': 1},
  '9' * 5000, 1 << 31, -(1 << 63), [[[[]]]], 'null',
]  # fmt: skip
VALUES = st.sampled_from(ODD)
RAW = st.sampled_from([
  b'null', b'[]', b'{}', b'0', b'"x"', b'[' * 50_000, b'{"a":' * 50_000, b'\xff\xfe', b'\x00', b'\xed\xa0\x80',
  b'9' * 5000, b'\n', b'\r', b'{"problem_id": "\\u12", "index": 1, "a": 1}',
  b'{"problem_id": "a", "index": 99999999999999999999, "b": 1}',
  b'-', b', ', b'"\\ud800"', b'NaN', b'\xe2\x80\xa8', b'1e999', b'{"problem_id": "a", "index": 1, "tokens": [1,,2]}',
])  # fmt: skip


@st.composite
def damaged(draw, good: bytes) -> bytes:
  """A file with a field of another value or name, bytes changed, put in or left out, or its end cut off."""
  data, kind = good, draw(st.sampled_from(('value', 'name', 'bytes', 'put', 'out', 'cut', 'double', 'line')))
  lines = data.splitlines(keepends=True)
  if kind in ('value', 'name', 'line') and lines:
    at = draw(st.integers(0, len(lines) - 1))
    try:
      row = json.loads(lines[at])
    except ValueError:
      row = None
    if kind == 'line':
      lines[at] = draw(RAW) + b'\n'
    elif isinstance(row, dict) and row:
      place, path = row, []
      while True:  # Into what is nested, as far as it goes.
        name = draw(st.sampled_from(sorted(place)))
        if not (isinstance(place[name], dict) and place[name] and draw(st.booleans())):
          break
        path, place = [*path, name], place[name]
      if kind == 'value':
        place[name] = draw(VALUES)
      else:
        place[draw(st.sampled_from(('x', '', 'index', 'tokens')))] = place.pop(name)
      lines[at] = json.dumps(row).encode() + b'\n'
    return b''.join(lines)
  at = draw(st.integers(0, max(0, len(data) - 1)))
  if kind == 'cut':
    return data[:at]
  if kind == 'double':
    return data[at:] + data
  end = at + draw(st.integers(1, 4))
  new = b'' if kind == 'out' else draw(RAW | st.binary(min_size=1, max_size=4))
  return data[:at] + new + data[at if kind == 'put' else end :]


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


def lines(*rows: Any) -> bytes:
  return b''.join((records.to_json(r) if not isinstance(r, dict) else json.dumps(r)).encode() + b'\n' for r in rows)


# Files that this project writes ---------------------------------------------------------------------------------------


@pytest.mark.parametrize('row', [PROBLEM, SAMPLE, VERDICT, EXAMPLE, OPINION], ids=lambda row: type(row).__name__)
@FUZZ
@given(data=st.data())
def test_rows_are_read_or_refused_with_file_and_line(tmp_path, row, data):
  path = tmp_path / 'rows.jsonl'
  path.write_bytes(data.draw(damaged(lines(row, row, row))))

  def read() -> None:
    for found in records.read(type(row), path):
      assert type(found) is type(row)
      records.to_json(found).encode()  # What was taken in can be written again.

  read_or_refused(read, RecordError)


@FUZZ
@given(data=st.data())
def test_samples_are_found_by_problem_and_measured_or_refused(tmp_path, data):
  folder = epath.Path(tmp_path)
  for path in folder.glob('*'):
    path.unlink()
  path = folder / layout.numbered(layout.CHUNKS, 0)
  path.write_bytes(data.draw(damaged(lines(SAMPLE, Sample('b', 0, '', (), 'length', 0.0), SAMPLE))))

  def read() -> None:
    found = ByProblem(Sample, [path])
    for rows in found.read([SAMPLE.problem_id, 'b', 'none']):
      for row in rows:
        assert all(isinstance(t, int) for t in row.tokens)

  read_or_refused(read, RecordError)
  read_or_refused(lambda: list(records.lengths(path)), RecordError)
  read_or_refused(lambda: Store(folder).by_problem().indices('b'), RecordError)


@FUZZ
@given(data=st.data())
def test_a_ledger_is_read_or_refused(tmp_path, data):
  (tmp_path / ENTRY.file).write_text('')
  line = json.dumps({**vars(ENTRY)}).encode() + b'\n'
  (tmp_path / layout.numbered(layout.LEDGERS, 0)).write_bytes(data.draw(damaged(line * 2)))
  read_or_refused(lambda: ledger.by_model(ledger.read(tmp_path)), BudgetError)


@FUZZ
@given(data=st.data())
def test_a_manifest_is_whole_or_none(tmp_path, data):
  whole = manifest.Manifest('1', 'samples', 1, {'a': 1}, {}, {'problems/set0': '2'}, {'count': 3}, True, 1.0, '', {})
  manifest.write(epath.Path(tmp_path), 'x', whole)
  path = tmp_path / 'x' / layout.MANIFEST
  path.write_bytes(data.draw(damaged(json.dumps(json.loads(path.read_text())).encode())))
  found = manifest.read(epath.Path(tmp_path), 'x')
  if found is not None:
    assert isinstance(found.version, str) and isinstance(found.inputs, dict) and isinstance(found.done, bool)
    manifest.far_enough(found.extent, {'count': 3})


@FUZZ
@given(data=st.data())
def test_opinions_that_are_kept_are_known_or_asked_for_again(tmp_path, data):
  good = b'["1/2", "0.5", true, "equal"]\n["2", "3", false, "not equal"]\n'
  (tmp_path / layout.numbered(layout.PAIRS, 0)).write_bytes(data.draw(damaged(good)))
  known = grading.SecondOpinions(epath.Path(tmp_path))._known
  assert all(isinstance(o.equal, bool) for o in known.values())


@FUZZ
@given(data=st.data())
def test_a_table_is_read_or_refused(data):
  text = Table('n', 't', ('a', 'b'), (('x', 1), (None, 0.5)), 'note').json().encode()
  read_or_refused(lambda: Table.from_json(data.draw(damaged(json.dumps(json.loads(text)).encode()))), ValueError)


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


# Files that others write ----------------------------------------------------------------------------------------------

DRAWN = (
  {'id': 'a', 'completion': ' 5', 'completion_tokens': 3, 'index': 0, 'finish_reason': 'stop', 'logprob': -1.0},
  {'problem': 'How many?', 'completions': [' 5', ' 6'], 'usage': {'completion_tokens': 7, 'prompt_tokens': 9}},
  {'custom_id': 'a', 'response': {'body': {'choices': [{'message': {'role': 'assistant', 'content': '5'}}]}}},
)
ASKED = (recorded.Asked('a', ('How many?',)), recorded.Asked('b', ('What?',)))


def survey(path: Path) -> None:
  recording = recorded.open_recording(str(path), {}, lambda text, finish: [0] * len(text.split()))
  found = recording.survey(ASKED)
  list(recording.samples(ASKED, {(p, i) for p, count in found.counts.items() for i in range(count)}))


@pytest.mark.parametrize('packed', [False, True], ids=['plain', 'gzipped'])
@FUZZ
@given(data=st.data())
def test_recorded_samples_are_taken_or_refused(tmp_path, packed, data):
  path = tmp_path / 'drawn.jsonl'
  good = lines(*DRAWN)
  if packed and data.draw(st.booleans()):
    path.write_bytes(data.draw(damaged(gzip.compress(good, 1, mtime=0))))
  else:
    rows = data.draw(damaged(good))
    path.write_bytes(gzip.compress(rows, 1, mtime=0) if packed else rows)
  read_or_refused(lambda: survey(path), RecordError)


@FUZZ
@given(data=st.data())
def test_recorded_samples_of_parquet_are_taken_or_refused(tmp_path, data):
  file = io.BytesIO()
  rows = [{'id': name, 'completion': ' 5', 'completion_tokens': 3} for name in 'ab']
  parquet.write_table(pa.Table.from_pylist(rows), file)
  good, path = file.getvalue(), tmp_path / 'drawn.parquet'
  path.write_bytes(good[:4] + data.draw(damaged(good[4:])))
  read_or_refused(lambda: survey(path), RecordError)


PROBLEMS = (
  {'id': 'a', 'question': 'How many?', 'answer': '5', 'solution': 'Five. #### 5', 'level': 'easy'},
  {'id': 'b', 'question': 'Which?', 'answer': 'B', 'choices': ['x', 'y', 'z']},
  {'id': 'c', 'question': 'What?', 'answer': 5, 'choices': {'A': 'x', 'B': 'y'}},
)


@pytest.mark.parametrize('answer', ['number', 'choice', 'mathematical', 'text'])
@FUZZ
@given(data=st.data())
def test_problems_of_ones_own_are_taken_or_refused(tmp_path, answer, data):
  rows = data.draw(damaged(lines(*PROBLEMS)))
  (tmp_path / 'p.jsonl').write_bytes(gzip.compress(rows, 1, mtime=0) if data.draw(st.booleans()) else rows)

  def read() -> None:
    own = Own(files={'all': 'p.jsonl'}, answer=answer, fields={}, shots=0)
    task = jsonl.kind(own)(epath.Path(tmp_path), own)
    for problem in task.problems('test', 1, 0):
      task.prompt(problem).encode()

  read_or_refused(read, TaskError, RecordError)


VOCABULARY = (importlib.resources.files('sweb_jax') / 'models/embedded/wc/tokenizer.model').read_bytes()


@FUZZ
@given(data=st.data())
def test_a_vocabulary_is_taken_or_refused(data):
  model = data.draw(damaged(VOCABULARY))

  def read() -> None:
    tokenizer = Tokenizer.from_bytes(model)
    assert all(0 <= i < tokenizer.vocab_size for i in tokenizer.encode('tom has 5 apples . how many ? \u2028 é'))
    tokenizer.decode(range(min(50, tokenizer.vocab_size)))
    tokenizer.pieces()
    json.dumps(huggingface_tokenizer.tokenizer_json(tokenizer)).encode()

  read_or_refused(read, TokenizerError)


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
    value = data.draw(HOSTILE | VALUES | st.text(max_size=20).map(f'{section[field]}'.__add__))
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
