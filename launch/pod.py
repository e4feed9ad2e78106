"""A pod as the config describes it, checked: nothing that gcloud would read as something else, nothing secret."""

from __future__ import annotations

import dataclasses
import math
import re
from collections.abc import Iterator
from typing import Any

from ml_collections import ConfigDict

from launch import chips, secrets
from launch.chips import LaunchError, Slice

# What an address may hold as it is (RFC 3986), without the wildcards of gcloud. Each pattern below takes time in
# proportion to the length of a value, whatever the value is: no repetition inside a repetition.
_PATH = r"[-A-Za-z0-9._~!$&+,;=:@%/]"
_PATTERNS = {
  'name': (r'[a-z]([-a-z0-9]{0,38}[a-z0-9])?', 'at most 40 of a-z, 0-9 and -, beginning with a letter'),
  'project': (r'([a-z0-9.-]+:)?[a-z][-a-z0-9]{4,28}[a-z0-9]', "a project's id (`gcloud projects list`), not its title"),
  'zone': (r'[a-z]+-[a-z]+\d+-[a-z][a-z0-9]*', "a zone as 'us-west4-a', not a region"),
  'runtime': (r'([a-z0-9][-a-z0-9.]*)?', "a runtime version as 'v2-alpha-tpuv6e', or '' for the usual one"),
  'network': (r'[a-z][-a-z0-9/_.]*', "a network's name"),
  'service_account': (r'([-a-z0-9]+@[-a-z0-9.]+)?', "an address as 'NAME@PROJECT.iam.gserviceaccount.com', or ''"),
  'workdir': (r'gs://[a-z0-9][-a-z0-9_.]+/[^\s\x00-\x1f]+', "a folder of a bucket as 'gs://BUCKET/runs/NAME'"),
  'source': (
    rf'(gs://[a-z0-9][-a-z0-9_.]+/{_PATH}+\.tar\.gz|https://[A-Za-z0-9][-A-Za-z0-9.]*(:[0-9]+)?/{_PATH}+)?',
    "'gs://BUCKET/NAME.tar.gz', an https:// address to clone, or ''",
  ),
  'commit': (r'[A-Za-z0-9][-A-Za-z0-9._/]*', 'a commit, tag or branch'),
  'gke.cluster': (r'([a-z][-a-z0-9]{0,39})?', "a cluster's name"),
  'gke.image': (r'([a-z0-9][-a-z0-9._/:@]*)?', "an image as 'us-docker.pkg.dev/PROJECT/REPOSITORY/sweb_jax:TAG'"),
}


@dataclasses.dataclass(frozen=True)
class Pod:
  """What the commands need to know; every field has been checked."""

  name: str
  project: str
  zone: str
  slice: Slice
  slices: int
  runtime: str
  queued: bool
  """A queued resource, which waits for capacity; else a TPU VM, made now or not at all."""
  spot: bool
  network: str
  service_account: str
  source: str
  """Where its machines get this project: a tarball on a bucket, which is made from this clone, or a Git address."""
  commit: str
  study: tuple[str, ...]
  """Flags of sweb_jax.main: config, workdir and the rest."""
  cluster: str
  image: str
  restarts: int

  @property
  def hosts(self) -> int:
    return self.slice.hosts * self.slices

  @property
  def bucket(self) -> str:
    """Where its machines get this project; where that is a Git address, where the study writes."""
    address = self.source if self.source.startswith('gs://') else self.study[1].partition('=')[2]
    return '/'.join(address.split('/')[:3])


def default() -> ConfigDict:
  """The fields common to all pods; a config file of launch/configs fills in what has no sensible default."""
  return ConfigDict(
    {
      'name': 'sweb',
      'project': '',
      'zone': '',
      'accelerator': '',  # As 'v5e-64', 'v5p-32' (TensorCores: 16 chips), 'v6e-8'.
      'slices': 1,  # So many of them, over the data center's network.
      'runtime': '',  # Runtime version; '': the usual one of the accelerator.
      'queued': True,  # Wait in Google's queue for capacity; False: a TPU VM now, or an error.
      'spot': True,  # Much cheaper, taken away at any time; --action=watch brings it back.
      'network': 'default',
      'service_account': '',  # '': the default one of Compute Engine. Must read and write the bucket.
      'workdir': '',  # gs://...: what the study writes.
      'source': '',  # A Git address that needs no password, or gs://...tar.gz; '': a tarball on the workdir's bucket.
      'commit': 'HEAD',  # Of the source: a commit, tag or branch.
      'study': {
        'config': 'configs/quickstart.py',
        'flags': ('--config.mesh.data=-1',),
      },
      'watch': {
        'poll_seconds': 60.0,  # Between two looks.
        'gcloud_seconds': 300.0,  # A gcloud command that takes longer hangs.
        'attempts': 8,  # Restarts in a row that brought no `healthy_seconds` of running.
        'healthy_seconds': 600.0,
        'backoff_seconds': 60.0,  # Before the first re-creation; doubles each time, up to an hour.
      },
      'gke': {'cluster': '', 'image': '', 'restarts': 16},  # For launch.gke.jobset.
    }
  )


def parse(config: ConfigDict) -> Pod:
  """The checked pod of a config. Raises LaunchError that names the field, and never shows a secret it holds."""
  _refuse_unknown(config, default())
  for field, text in _texts(config):
    if secrets.found(text):
      raise LaunchError(
        f'config.{field} holds something that looks like a password or token, which would be seen in command lines and '
        'logs. Put it into a file that only the service account can read, and name the file'
      )
  if not config.project:
    raise LaunchError(
      "config.project is not set: give --config.project=ID (`gcloud projects list` shows yours), or set it in the file"
    )
  for field, (pattern, wish) in _PATTERNS.items():
    value: Any = config
    for part in field.split('.'):
      value = value[part]
    if not re.fullmatch(pattern, value):
      raise LaunchError(f'config.{field}={value!r:.200}: give {wish}')
  for field in ('slices', 'watch.attempts', 'gke.restarts'):
    value = config[field] if '.' not in field else config[field.partition('.')[0]][field.partition('.')[2]]
    if value < 1:
      raise LaunchError(f'config.{field}={value}: must be positive')
  for field, value in config.watch.items():
    if not 0 < value < math.inf:
      raise LaunchError(f'config.watch.{field}={value}: must be positive and finite')
  slice_ = chips.parse_slice(config.accelerator)
  if config.slices > 1 and not config.queued:
    raise LaunchError('config.queued=False: several slices come as a queued resource only; set it to True')
  bucket = config.workdir.split('/')[2]
  return Pod(
    name=config.name,
    project=config.project,
    zone=config.zone,
    slice=slice_,
    slices=config.slices,
    runtime=config.runtime or slice_.generation.runtime,
    queued=config.queued,
    spot=config.spot,
    network=config.network,
    service_account=config.service_account,
    source=config.source or f'gs://{bucket}/source/{config.name}.tar.gz',
    commit=config.commit,
    study=_study(config.study.config, tuple(config.study.flags), config.workdir),
    cluster=config.gke.cluster,
    image=config.gke.image,
    restarts=config.gke.restarts,
  )


def _study(config: str, flags: tuple[str, ...], workdir: str) -> tuple[str, ...]:
  if not re.fullmatch(r'[A-Za-z0-9_][\w./-]*\.py', config) or '..' in config:
    wish = "a file of this repository, as 'configs/quickstart.py'"
    raise LaunchError(f'config.study.config={config!r:.200}: give {wish}')
  for flag in flags:
    if not re.match(r'--\w', flag) or '\0' in flag:
      raise LaunchError(f'config.study.flags: {flag!r:.200} is no flag; flags are written --name=value')
    name = flag[2:].partition('=')[0]
    if name in ('workdir', 'distributed', 'config'):
      raise LaunchError(f'config.study.flags: --{name} is set by the launcher (config.workdir, config.study.config)')
  return (f'--config={config}', f'--workdir={workdir}', *flags)


def _texts(config: ConfigDict, prefix: str = '') -> Iterator[tuple[str, str]]:
  for key, value in config.items():
    if isinstance(value, ConfigDict):
      yield from _texts(value, f'{prefix}{key}.')
    else:
      for text in value if isinstance(value, tuple | list) else (value,):
        yield f'{prefix}{key}', str(text)


def _refuse_unknown(config: ConfigDict, known: ConfigDict, prefix: str = '') -> None:
  for key in config:
    if key not in known:
      raise LaunchError(f'config.{prefix}{key}: there is no such field; fields here are {", ".join(sorted(known))}')
    wished = (int, float) if isinstance(known[key], float) else type(known[key])
    if not isinstance(config[key], wished):
      kind = type(known[key]).__name__
      raise LaunchError(f'config.{prefix}{key}={config[key]!r:.200}: must be a {kind}, as {known[key]!r}')
    if isinstance(known[key], ConfigDict):
      _refuse_unknown(config[key], known[key], f'{prefix}{key}.')
  for key in known:
    if key not in config:
      raise LaunchError(f'config.{prefix}{key} is missing; start the config from launch.pod.default()')
