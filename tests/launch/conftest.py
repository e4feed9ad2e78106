"""What the launcher's tests share: pods of the shipped configs, and a gcloud that plays recorded answers."""

from __future__ import annotations

import importlib.util
import json
import os
import sys
from pathlib import Path

import pytest

from launch import pod as pod_lib

ROOT = Path(__file__).parents[2]


def load(file: str, /, **fields) -> pod_lib.Pod:
  """The pod of launch/configs/FILE.py with some fields set ('watch__poll_seconds' for 'watch.poll_seconds')."""
  spec = importlib.util.spec_from_file_location(file, ROOT / f'launch/configs/{file}.py')
  module = importlib.util.module_from_spec(spec)
  spec.loader.exec_module(module)
  config = module.get_config()
  for field, value in {'project': 'my-project', 'workdir': 'gs://my-bucket/runs/one', **fields}.items():
    section, _, key = field.rpartition('__')
    (config[section] if section else config)[key] = value
  return pod_lib.parse(config)


@pytest.fixture(name='load')
def load_fixture():
  return load


class FakeGcloud:
  """A gcloud on PATH: `answers` by kind of command, each the next, the last one again and again."""

  def __init__(self, folder: Path):
    self._folder = folder

  def play(self, **answers: list[dict]) -> None:
    """Kinds: describe, create, delete, setup, start, status, ...; an answer may have out, err, code and hang."""
    (self._folder / 'script.json').write_text(json.dumps(answers))

  @property
  def asked(self) -> list[tuple[str, list[str]]]:
    """Kind and argv of each call."""
    path = self._folder / 'asked.jsonl'
    return [tuple(json.loads(line)) for line in path.read_text().splitlines()] if path.exists() else []

  @property
  def kinds(self) -> list[str]:
    return [kind for kind, _ in self.asked]


@pytest.fixture
def gcloud(tmp_path, monkeypatch) -> FakeGcloud:
  program = tmp_path / 'bin/gcloud'
  program.parent.mkdir()
  program.write_text(f'#!/bin/sh\nexec "{sys.executable}" -I -S "{Path(__file__).with_name("fake_gcloud.py")}" "$@"\n')
  program.chmod(0o755)
  monkeypatch.setenv('PATH', f'{program.parent}:{os.environ["PATH"]}')
  monkeypatch.setenv('FAKE_GCLOUD', str(tmp_path))
  return FakeGcloud(tmp_path)
