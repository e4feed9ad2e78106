from __future__ import annotations

import json
import os
import subprocess
import sys
import time

import pytest
from sweb_jax.runtime.workdir import Workdir, WorkdirError, fingerprint

from sweb_jax.runtime import files

CONFIG = {'seed': 0, 'task': {'name': 'arithmetic', 'train': 300}, 'rates': (1e-3, 2e-3), 'jobs': 2}


def test_a_workdir_is_claimed_again_by_the_same_config(tmp_path):
  work = Workdir(tmp_path / 'new')
  work.claim(CONFIG, ())
  before = (tmp_path / 'new/config.json').read_bytes()
  work.claim(CONFIG, ())
  assert (tmp_path / 'new/config.json').read_bytes() == before
  assert json.loads(before)['task'] == CONFIG['task']


def test_another_config_is_refused_and_its_fields_are_listed(tmp_path):
  work = Workdir(tmp_path)
  work.claim(CONFIG, ())
  before = (tmp_path / 'config.json').read_bytes()
  other = {'seed': 1, 'task': {'name': 'arithmetic', 'train': 200}, 'rates': [1e-3, 2e-3], 'jobs': 2, 'added': 'x'}
  with pytest.raises(WorkdirError) as e:
    work.claim(other, ())
  message = str(e.value)
  assert str(tmp_path) in message
  assert 'config.seed: 0 there, 1 here' in message
  assert 'config.task.train: 300 there, 200 here' in message
  assert "config.added: None there, 'x' here" in message
  assert 'name' not in message.partition('\n')[2] and 'rates' not in message
  assert (tmp_path / 'config.json').read_bytes() == before


def test_fields_that_change_no_result_may_differ(tmp_path):
  work = Workdir(tmp_path)
  work.claim(CONFIG, ('jobs',))
  work.claim(CONFIG | {'jobs': 8}, ('jobs',))
  with pytest.raises(WorkdirError, match=r'config\.seed'):
    work.claim(CONFIG | {'jobs': 8, 'seed': 3}, ('jobs',))


def test_a_folder_of_other_files_is_refused_and_left_alone(tmp_path):
  (tmp_path / 'thesis.tex').write_text('text')
  with pytest.raises(WorkdirError, match='not a workdir'):
    Workdir(tmp_path).claim(CONFIG, ())
  assert [p.name for p in tmp_path.iterdir()] == ['thesis.tex']


def test_a_run_killed_while_it_claims_a_workdir_can_claim_it_again(tmp_path):
  (tmp_path / '.lock').touch()
  (tmp_path / 'config.json.tmp').write_text('{"se')
  Workdir(tmp_path).claim(CONFIG, ())
  assert sorted(p.name for p in tmp_path.iterdir()) == ['.lock', 'config.json']


def test_a_damaged_config_is_named(tmp_path):
  (tmp_path / 'config.json').write_text('{"seed": 0')
  with pytest.raises(WorkdirError, match=r'config\.json: not JSON'):
    Workdir(tmp_path).claim(CONFIG, ())


HOLD = '''
import sys
from sweb_jax.runtime.workdir import Workdir
with Workdir(sys.argv[1]).lock():
  print('held', flush=True)
  sys.stdin.readline()
'''


def test_a_workdir_that_another_process_holds_is_refused_until_that_one_ends(tmp_path):
  root = os.path.abspath(os.path.join(os.path.dirname(__file__), '../..'))
  holder = subprocess.Popen(
    [sys.executable, '-c', HOLD, str(tmp_path)], stdin=subprocess.PIPE, stdout=subprocess.PIPE, cwd=root,
    env=os.environ | {'PYTHONPATH': root},
  )
  try:
    assert holder.stdout.readline() == b'held\n'
    with pytest.raises(WorkdirError, match='another run is writing'), Workdir(tmp_path).lock():
      pass
  finally:
    holder.kill()  # The lock goes with the process, however that ends.
    holder.communicate()
  with Workdir(tmp_path).lock():
    pass


def test_a_finished_job_is_done_for_its_inputs_alone(tmp_path):
  work = Workdir(tmp_path)
  assert not work.done('a/b', 'x')
  work.begin('a/b', 'x')
  assert not work.done('a/b', 'x')
  work.finish('a/b', 'x', time.time() - 2)
  assert work.done('a/b', 'x') and not work.done('a/b', 'y')
  assert 2 <= work.seconds('a/b') < 60


def test_an_interrupted_job_goes_on_with_what_is_there(tmp_path):
  work = Workdir(tmp_path)
  files.write_text(work.begin('job', 'x') / 'part', '1')
  assert [p.name for p in Workdir(tmp_path).begin('job', 'x').iterdir()] == ['part']


def test_files_of_a_job_with_other_inputs_are_removed(tmp_path):
  work = Workdir(tmp_path)
  files.write_text(work.begin('job', 'x') / 'deep/part', '1')
  files.write_text(work.begin('other', 'x') / 'part', '1')
  work.finish('job', 'x', time.time())
  assert not list(work.begin('job', 'y').iterdir())
  assert not work.done('job', 'x') and not work.done('job', 'y')
  assert (tmp_path / 'other/part').exists()


def test_a_torn_manifest_is_a_job_to_do_again_from_nothing(tmp_path):
  work = Workdir(tmp_path)
  files.write_text(work.begin('job', 'x') / 'part', '1')
  (tmp_path / 'manifests/job.json').write_text('{"fingerprint": "x", "do')
  assert not work.done('job', 'x')
  assert not list(work.begin('job', 'x').iterdir())


def test_a_run_killed_while_it_clears_a_folder_leaves_no_job_that_looks_done(tmp_path, monkeypatch):
  work = Workdir(tmp_path)
  files.write_text(work.begin('job', 'x') / 'part', '1')
  work.finish('job', 'x', time.time())

  def killed(path, value):
    raise KeyboardInterrupt

  with monkeypatch.context() as patched:
    patched.setattr(files, 'write_json', killed)
    with pytest.raises(KeyboardInterrupt):
      work.begin('job', 'y')
  assert not (tmp_path / 'job/part').exists()
  assert not work.done('job', 'x')


def test_a_fingerprint_follows_the_value_and_not_the_order_of_keys():
  assert fingerprint({'a': 1, 'b': [2]}) == fingerprint({'b': [2], 'a': 1})
  assert len({fingerprint(v) for v in ({'a': 1}, {'a': 2}, {'b': 1}, [1], '1')}) == 5
  assert len(fingerprint(None)) == 16
