"""The commands that are built: as recorded, unharmed on their way, and never with a secret in them."""

from __future__ import annotations

import dataclasses
import os
import re
import shlex
import subprocess
from pathlib import Path

import kauldron.konfig  # noqa: F401  # It comes with gemma, and adds attributes to every ConfigDict of the process.
import pytest
import yaml
from ml_collections import ConfigDict

from launch import chips, commands
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


def test_the_guide_shows_what_the_dry_run_prints(load):
  text = (ROOT / 'docs/pods.md').read_text()
  shown = re.findall(r'```console\n\$ (python -m launch\.tpu (?:[^\n]*\\\n)*[^\n]*)\n(.*?)```', text, re.DOTALL)
  assert len(shown) >= 6
  actions = set()
  for command, output in shown:
    flags = dict(a[2:].partition('=')[::2] for a in shlex.split(command)[3:])
    name = Path(flags.pop('config')).stem
    action, hours = flags.pop('action'), float(flags.pop('hours', 'nan'))
    assert 'dry_run' in flags or action == 'cost', command
    fields = {k.removeprefix('config.'): v for k, v in flags.items() if k.startswith('config.')}
    pod = load(name, **fields)
    printed = commands.printed(pod, action, hours if hours == hours else None)
    if 'hours' not in command:
      printed = printed.rpartition('\n\n')[0]  # The guide leaves the cost out, which depends on the study.
    assert output.rstrip() == printed, command
    actions.add(action)
  assert {'create', 'setup', 'run', 'watch', 'delete', 'cost'} <= actions
