"""The commands that are built: as recorded, unharmed on their way, and never with a secret in them."""

from __future__ import annotations

import contextlib
import dataclasses
import os
import re
import shlex
import subprocess
import sys
from pathlib import Path

import kauldron.konfig  # noqa: F401  # It comes with gemma, and adds attributes to every ConfigDict of the process.
import pytest
import yaml
from ml_collections import ConfigDict

from launch import chips, commands, process, secrets
from launch import pod as pod_lib
from launch.chips import LaunchError
from launch.gke import jobset
from sweb_jax.config import default

ROOT = Path(__file__).parents[2]
GKE = dict(gke__cluster='my-cluster', gke__image='us-docker.pkg.dev/my-project/study/sweb_jax:1')
NASTY = ('--config.name=two words', "--config.a='it''s'", '--config.b="$HOME `id` \\ ; | & *"', '--config.c=a\nb\n')


@pytest.mark.parametrize('name', ['v5e_8', 'v5p_32', 'v6e_64', 'v5e_2x16'])
def test_every_command_is_as_recorded(load, name):
  pod = load(name, **GKE)
  parts = {action: commands.printed(pod, action, 10.0).rpartition('\n\n')[0] for action in commands.actions(pod)}
  parts['cost'] = commands.printed(pod, 'cost', 10.0)
  parts['xpk'] = shlex.join(jobset.xpk(pod))
  parts['jobset'] = yaml.safe_dump(jobset.jobset(pod), sort_keys=False, width=1000)
  text = ''.join(f'==== {part}\n{lines.rstrip()}\n' for part, lines in parts.items())
  golden = Path(__file__).parent / f'golden/{name}.txt'
  if os.environ.get('SWEB_WRITE_GOLDEN'):  # To record on purpose; read the difference before it is committed.
    golden.write_text(text)
  assert text == golden.read_text(), f'differs from {golden}; SWEB_WRITE_GOLDEN=1 records it anew'


@pytest.mark.parametrize('name', ['v5e_64', 'v5e_2x16'])
def test_words_arrive_on_the_machine_as_they_were(load, tmp_path, name):
  sudo = tmp_path / 'sudo'
  sudo.write_text('#!/bin/bash\nprintf "%s\\0" "$@"\n')
  sudo.chmod(0o755)
  pod = dataclasses.replace(load(name), study=NASTY)
  for argv, expected in (
    (commands.run(pod), ['bash', commands.WORKER, 'start', *NASTY]),
    (commands.setup(pod), ['bash', '-c', commands.boot_script(pod)]),
  ):
    pasted = subprocess.run(['bash', '-c', f'printf "%s\\0" {shlex.join(argv)}'], capture_output=True, check=True)
    assert pasted.stdout.decode().split('\0')[:-1] == argv  # What --dry_run prints can be pasted into a shell.
    (command,) = (a.partition('=')[2] for a in argv if a.startswith('--command='))
    # gcloud gives ssh the command as it is, ssh the remote login shell.
    env = os.environ | {'PATH': f'{tmp_path}:{os.environ["PATH"]}'}
    arrived = subprocess.run(['bash', '-c', command], env=env, capture_output=True, check=True)
    assert arrived.stdout.decode().split('\0')[:-1] == expected


def test_gcloud_does_not_split_the_boot_script(load):
  pod = load('v5e_64', source='https://example.org/a,b.git')
  (value,) = (a.removeprefix('--metadata=') for a in commands.create(pod) if a.startswith('--metadata='))
  _, delimiter, text = re.split(r'\^(.*?)\^', value, maxsplit=1)
  assert delimiter not in text
  assert text == f'startup-script={commands.boot_script(pod)}'
  subprocess.run(['bash', '-n', '-c', commands.boot_script(pod)], check=True)


def _fields(config: ConfigDict):
  for key, value in config.items():
    yield key
    if isinstance(value, ConfigDict):
      yield from _fields(value)


@pytest.mark.parametrize('config', [pod_lib.default(), default()], ids=['pod', 'study'])
def test_no_field_has_the_name_of_an_attribute_that_would_be_read_instead(config):
  assert not [field for field in _fields(config) if hasattr(ConfigDict, field)]


@pytest.mark.parametrize(
  ('field', 'value'),
  [
    ('project', ''),
    ('project', 'My Project'),
    ('project', '--impersonate-service-account=x'),
    ('name', 'Sweb'),
    ('name', '-sweb'),
    ('name', 'a' * 41),
    ('name', 'sweb; rm -rf ~'),
    ('zone', 'us-west4'),
    ('zone', 'us-west4-a --quiet'),
    ('workdir', 'runs/one'),
    ('workdir', 'gs://my-bucket/runs/a b'),
    ('accelerator', 'v5e-63'),
    ('accelerator', 'v4-8'),
    ('slices', 0),
    ('source', 'http://example.org/x.git'),
    ('source', 'https://-x'),
    ('commit', '--upload-pack=x'),
    ('network', '--x'),
    ('service_account', 'me'),
    ('study__config', '../x.py'),
    ('study__flags', ('config.seed=1',)),
    ('study__flags', ('--workdir=/tmp/x',)),
    ('study__flags', ('--distributed=off',)),
    ('gke__image', '--x'),
    ('watch__attempts', 0),
    ('watch__poll_seconds', -1.0),
    ('sped', True),
    ('zone', None),
  ],
)
def test_a_value_that_makes_no_sense_is_refused_by_its_name(load, field, value):
  with pytest.raises(LaunchError, match=f'config.{field.replace("__", ".")}'):
    load('v5e_64', **{field: value})


@pytest.mark.parametrize(
  ('field', 'secret', 'value'),
  [
    ('study__flags', 'hf_' + 'a1B2' * 8, ('--config.seed=1', '--config.models.wc={}')),
    ('study__flags', 'correct-horse', ('--config.hub.token={}',)),
    ('study__flags', 'correct-horse', ('--config.models.wc=gs://b/m?api_key={}',)),
    ('source', 'me:correct-horse', 'https://{}@github.com/me/it.git'),
    ('source', 'ghp_' + 'a1B2' * 9, 'https://github.com/{}/it.git'),
    ('study__flags', '-----BEGIN RSA PRIVATE KEY', ('--config.name={}',)),
  ],
)
def test_a_secret_is_refused_and_not_shown(load, field, secret, value):
  value = tuple(v.format(secret) for v in value) if isinstance(value, tuple) else value.format(secret)
  with pytest.raises(LaunchError, match=f'config.{field.replace("__", ".")} holds') as caught:
    load('v5e_64', **{field: value})
  assert secret not in str(caught.value)


@pytest.mark.parametrize(
  'text',
  [
    'AKIAIOSFODNN7EXAMPLE',
    'ASIA' + 'Q7' * 8,
    'aws_secret_access_key = wJalrXUtnFEMI/K7MDENG/bPxRfiCYEXAMPLEKEY',
    'AWS_SECRET_ACCESS_KEY=x',
    'Authorization: Bearer abcdefghijklmnop',
    'header=Authorization: Basic bWU6Y29ycmVjdA==',
    'bearer abc.def-ghi_jkl~mno+p',
    'eyJhbGciOiJIUzI1NiJ9.eyJzdWIiOiIxMjM0In0.sig',
    'WANDB_API_KEY=0123456789abcdef',
    'apiKey: x',
    'x-api-key: x',
    '{"password": "correct"}',
    "{'api_key': 'x'}",
    'db_password=horse',
    'DB-PASSWD: horse',
    'postgres://me:horse@db/x',
    'https://me:ho:rse@example.org/x.git',
    'https://:horse@example.org/x.git',
    'Server=db;Pwd=horse;',
    '--passphrase horse',
    '--config.hub.access_token horse',
    'https://b/m?x=1&access_token=horse',
    'client_secret=horse',
    'private_key: horse',
    'credentials=horse',
    'sk-ant-api03-' + 'a1B2' * 6,
    'sk_live_' + 'a1B2' * 6,
    'xoxb-1234567890-abcdef',
    'npm_' + 'a1B2' * 9,
    'pypi-AgEIcHlwaS5vcmc' + 'a1B2' * 6,
    'SG.' + 'a1B2' * 5 + '.' + 'a1B2' * 10,
    'glpat-' + 'a1B2' * 5,
    'AIza' + 'a1B2c' * 7,
    'GOCSPX-' + 'a1B2' * 6,
    '-----BEGIN PRIVATE KEY-----',
    '-----BEGIN OPENSSH PRIVATE KEY-----',
    '-----BEGIN EC PRIVATE KEY-----',
  ],
)
def test_forms_of_secrets_are_recognised_wherever_they_stand(load, text):
  for value in (text, f'--config.x={text}', f'--config.x=a {text} b', f'--config.x=gs://b/{text}'):
    assert secrets.found(value), value
  with pytest.raises(LaunchError, match=r'config\.study\.flags holds') as caught:
    load('v5e_64', study__flags=(f'--config.note={text}',))
  assert text not in str(caught.value)


@pytest.mark.parametrize(
  'text',
  [
    *('--config.estimate.prompt_tokens=100', '--config.sampling.max_new_tokens=300', '--config.tokenizer=gs://b/t.model'),
    *('--config.models.wc=gs://my-bucket/gemma-2-2b', '--config.learners=("wc",)', '--config.mesh.data=-1'),
    *('--config.name=desk-lamp-and-risk-0123456789abcdef', '--config.data_dir=https://example.org:8080/a@b/c'),
    *('--config.prompt=a basic arithmetic question', '--config.keys=a,b', '--config.task=math', 'gs://b/monkey=1'),
    'https://github.com/me/sweb_jax.git',
  ],
)
def test_ordinary_flags_are_no_secrets(text):
  assert not secrets.found(text)


@pytest.mark.parametrize('field', ['workdir', 'source', 'project', 'name', 'service_account', 'study__flags'])
@pytest.mark.parametrize(
  'unit', ['/', '/a', 'a', '.', 'gs://', '://a:', ':', 'secret', '--token ', '-----BEGIN ', 'eyJaaaaaaaa.', 'sk-', '@a']
)
def test_a_long_value_is_judged_at_once(load, field, unit, within):
  start = {'workdir': 'gs://my-bucket', 'source': 'https://a', 'study__flags': '--x='}.get(field, '')
  value = start + unit * (100_000 // len(unit)) + '\n'
  with within(20), contextlib.suppress(LaunchError):
    load('v5e_64', **{field: (value,) if field == 'study__flags' else value})


@pytest.mark.parametrize('unit', ['quota ', 'network ', '/nodes/', 'accelerator x ', 'access to service account '])
def test_a_long_message_of_a_machine_is_judged_at_once(load, unit, within):
  pod = load('v5e_64')
  with within(20):
    process.explain(unit * (2_000_000 // len(unit)), pod)
    assert not process.is_missing(unit * (2_000_000 // len(unit)))


@pytest.mark.parametrize(
  'source',
  [
    'https://x/y|||ssh-keys=me:ssh-rsa',
    'https://x/y,ssh-keys=me',
    'https://x/y^|||^z',
    'https://x/y"z',
    "https://x/y'z",
    'https://x/$(id)',
    'https://x/`id`',
    'https://x/y\\z',
    'https://x/{a,b}',
    'https://x/<y>',
    'https://x',
    'https://x y/z',
    'gs://my-bucket/*.tar.gz',
    'gs://my-bucket/a|||b.tar.gz',
    'gs://my-bucket/a[0].tar.gz',
  ],
)
def test_a_source_adds_no_metadata(load, source):
  """gcloud splits metadata at the string that its beginning announces; the machines must get one key."""
  try:
    pod = load('v5e_64', source=source)
  except LaunchError as e:
    assert str(e).startswith('config.source=')
    return
  assert metadata(pod) == {'startup-script': commands.boot_script(pod)}


def metadata(pod) -> dict[str, str]:
  """What gcloud makes of --metadata: its own rules for a delimiter of one's choice."""
  (value,) = (a.removeprefix('--metadata=') for a in commands.create(pod) if a.startswith('--metadata='))
  _, delimiter, text = re.split(r'\^(.*?)\^', value, maxsplit=1)
  return dict(item.partition('=')[::2] for item in text.split(delimiter))


def test_the_delimiter_of_metadata_is_never_in_the_script(load):
  pod = dataclasses.replace(load('v5e_64'), source='https://x/y|||ssh-keys=me||||a=b')
  assert metadata(pod) == {'startup-script': commands.boot_script(pod)}


def test_fields_that_only_sound_like_secrets_are_allowed(load):
  flags = ('--config.estimate.prompt_tokens=100', '--config.sampling.max_new_tokens=300')
  assert load('v5e_64', study__flags=flags).study[2:] == flags


def test_a_slice_has_the_chips_and_machines_that_google_gives_it():
  expected = {
    'v5e-4': ('v5litepod-4', 4, 1),
    'v5e-8': ('v5litepod-8', 8, 1),
    'v5e-16': ('v5litepod-16', 16, 4),
    'v5e-256': ('v5litepod-256', 256, 64),
    'v5p-8': ('v5p-8', 4, 1),
    'v5p-32': ('v5p-32', 16, 4),
    'v6e-8': ('v6e-8', 8, 1),
    'v6e-64': ('v6e-64', 64, 16),
  }
  slices = [chips.parse_slice(name) for name in expected]
  assert {s.name: (s.accelerator_type, s.chips, s.hosts) for s in slices} == expected


def test_the_cost_is_chips_times_price_and_says_where_there_is_none():
  v6e = chips.parse_slice('v6e-64')
  assert chips.dollars_an_hour(v6e, 2, 'us-east5-b', spot=False) == pytest.approx(2 * 64 * 2.70)
  assert chips.dollars_an_hour(v6e, 1, 'us-east5-b', spot=True) == pytest.approx(64 * 1.35)
  with pytest.raises(LaunchError, match=r'zones of v6e are .*us-east5-b'):
    chips.dollars_an_hour(v6e, 1, 'us-west4-a', spot=True)
  text = chips.describe_cost(v6e, 1, 'southamerica-west1-a', True, 2.0)
  assert 'no spot price' in text
  assert '$172.80 an hour, $345.60 for the planned 2.00 hours' in text


HOURS = """
import importlib.util, subprocess, sys, types
from launch import chips, tpu

def plan(argv, **_):
  print(*[a for a in argv if a.startswith('--slice')])
  return types.SimpleNamespace(returncode=0, stdout='| all | | 9 | 1,000 | 1,200.0 |', stderr='')

subprocess.run = plan
for slices, there in ((1, True), (1, False), (2, True)):
  importlib.util.find_spec = lambda name, *_: there or None
  pod = types.SimpleNamespace(slices=slices, slice=chips.parse_slice('v5e-64'))
  print(tpu.planned_hours(('--config=c.py', '--workdir=gs://b/w'), tpu._compiled_for(pod)))
"""


def test_hours_are_by_steps_compiled_for_the_slice_or_it_is_said_why_not():
  done = subprocess.run([sys.executable, '-c', HOURS], cwd=ROOT, capture_output=True, text=True, check=True)
  missing = "the TPU's compiler (the extra `tpu`)"
  assert done.stdout.splitlines() == [
    '--slice=v5e-64', '20.0',
    f"Hours are by the study's config.estimate: without {missing} its steps are not compiled.", '', '20.0',
    '--slice=2xv5e-64', '20.0',
  ]  # fmt: skip
