"""Files of problems: what hostile ones come to, whichever task reads them."""

import gzip
import json
import os

import pytest

from sweb_jax import tasks
from sweb_jax.tasks import TaskError, data_files

FILES = {
  'math': 'train',
  'gsm8k': 'train',
  'svamp': 'test',
  'mbpp': 'mbpp',
  'humaneval': 'HumanEval',
  'functional_math': 'Oct-2023',
}


@pytest.mark.parametrize('task', FILES)
@pytest.mark.parametrize(
  ('content', 'message'),
  [
    (b'{"a": ' + b'[' * 90_000 + b']' * 90_000 + b'}', 'line 1: nested too deeply'),
    (b'{"a": "\\ud800"}', 'line 1: a text in it is not Unicode'),
    (b'[]', 'line 1: expected a JSON object, found list'),
    (None, 'not a regular file'),
  ],
)
def test_a_hostile_file_is_named_with_what_to_do(tmp_path, task, content, message):
  path = tmp_path / f'{FILES[task]}.jsonl'
  if content is None:
    os.mkfifo(path)
  else:
    path.write_bytes(content)
  with pytest.raises(TaskError) as error:
    tasks.get(task, data_dir=tmp_path)
  assert f'{path}' in str(error.value) and message in str(error.value)
  assert '--config.data_dir' in str(error.value)


def test_a_file_of_too_many_rows_is_refused(tmp_path, monkeypatch):
  monkeypatch.setattr(data_files, 'MAX_ROWS', 10)
  rows = [json.dumps({'a': i}) for i in range(11)]
  (tmp_path / 'x.jsonl.gz').write_bytes(gzip.compress('\n'.join(rows[:10]).encode()))
  assert len(data_files.read(tmp_path, 'x', 'test', ['x'], 'do this').rows) == 10
  (tmp_path / 'x.jsonl.gz').write_bytes(gzip.compress('\n'.join(rows).encode()))
  with pytest.raises(TaskError, match=r'x\.jsonl\.gz: more than 10 rows, which is no file of problems; do this'):
    data_files.read(tmp_path, 'x', 'test', ['x'], 'do this')
