"""TPU generations as Google sells them: names, machines, zones and list prices.

Prices are dollars a chip and hour in the zone's region, on demand and spot: SkyPilot's catalogue of Google's billing
prices (skypilot-org/skypilot-catalog, catalogs/v8/gcp/vms.csv, commit 8427bbf), read on 2026-11-22. Google may change
spot prices daily. Zones, machines and runtime versions: Google's pages 'TPU regions and zones', 'TPU software
versions' and those of each generation (docs.cloud.google.com/tpu/docs), same day.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping

from sweb_jax.budget import machines

PRICES_READ = '2026-11-22'


class LaunchError(ValueError):
  """Something that keeps a pod from being launched; the message says what to do."""


@dataclasses.dataclass(frozen=True)
class Generation:
  """One kind of TPU."""

  api_name: str
  """What gcloud calls it."""
  runtime: str
  """Runtime version of its virtual machines."""
  gke: tuple[str, str]
  """Accelerator label and machine family in GKE."""
  zones: Mapping[str, tuple[float, float]]
  """Zone -> dollars a chip and hour, on demand and spot (0: no spot price is listed)."""


GENERATIONS = {
  'v5e': Generation(
    'v5litepod',
    'v2-alpha-tpuv5-lite',
    ('tpu-v5-lite-podslice', 'ct5lp-hightpu'),
    {
      'europe-west4-b': (1.56, 0.4045),
      'us-central1-a': (1.20, 0.2449),
      'us-south1-a': (1.416, 0.5664),
      'us-west1-c': (1.20, 0.2449),
      'us-west4-a': (1.20, 0.48),
    },
  ),
  'v5p': Generation(
    'v5p',
    'v2-alpha-tpuv5',
    ('tpu-v5p-slice', 'ct5p-hightpu'),
    {'europe-west4-b': (4.2525, 1.3485), 'us-central1-a': (4.20, 0.9286), 'us-east5-a': (4.20, 1.68)},
  ),
  'v6e': Generation(
    'v6e',
    'v2-alpha-tpuv6e',
    ('tpu-v6e-slice', 'ct6e-standard'),
    {
      'asia-northeast1-b': (3.24, 0.8577),
      'europe-west4-a': (2.97, 1.0375),
      'southamerica-west1-a': (2.70, 0.0),
      'us-central1-b': (2.70, 0.5729),
      'us-east1-d': (2.70, 0.5729),
      'us-east5-a': (2.70, 1.35),
      'us-east5-b': (2.70, 1.35),
    },
  ),
}


@dataclasses.dataclass(frozen=True)
class Slice:
  """A slice of TPU chips that are wired to each other."""

  kind: str
  """As 'v5e'."""
  name: str
  """As 'v5e-64'."""
  chips: int

  @property
  def generation(self) -> Generation:
    return GENERATIONS[self.kind]

  @property
  def topology(self) -> str:
    """Its shape, as '8x8'."""
    return machines.CHIPS[self.kind].topologies[self.chips]

  @property
  def accelerator_type(self) -> str:
    """Its name for gcloud, as 'v5litepod-64'."""
    return f'{self.generation.api_name}-{self.chips * machines.CHIPS[self.kind].units}'

  @property
  def chips_per_host(self) -> int:
    """Chips of one virtual machine: 8 chips of v5e and v6e are one machine, larger slices have 4 a machine."""
    return 8 if self.chips == 8 and self.kind != 'v5p' else 4

  @property
  def hosts(self) -> int:
    return self.chips // self.chips_per_host


def parse_slice(name: str) -> Slice:
  """The slice of a name as 'v5e-64', 'v5p-32' (TensorCores: 16 chips) or 'v6e-8'. Raises LaunchError."""
  try:
    kind, chips = machines.parse_slice(name)
  except machines.SliceError as e:
    raise LaunchError(f'config.accelerator={name!r:.200}: {e}') from e
  return Slice(kind, name, chips)


def dollars_an_hour(slice_: Slice, slices: int, zone: str, spot: bool) -> float:
  """List price of so many slices, in dollars an hour. Raises LaunchError where no price is known."""
  prices = slice_.generation.zones.get(zone)
  if prices is None:
    zones = ', '.join(slice_.generation.zones)
    raise LaunchError(f'no list price of {slice_.kind} in zone {zone!r} is known; zones of {slice_.kind} are {zones}')
  if not prices[spot]:
    raise LaunchError(f'no spot price of {slice_.kind} in zone {zone!r} is known')
  return prices[spot] * slice_.chips * slices


def describe_cost(slice_: Slice, slices: int, zone: str, spot: bool, hours: float | None) -> str:
  """What a pod costs an hour and, with hours, the whole study; one line each."""
  hosts = slice_.hosts * slices
  machines = f'{hosts} machine{"s" if hosts > 1 else ""}'
  lines = [f'{slices} x {slice_.name} = {slice_.chips * slices} chips on {machines} in {zone}']
  for kind, is_spot in (('spot', True), ('on demand', False)):
    chosen = ' (chosen)' if is_spot == spot else ''
    try:
      rate = dollars_an_hour(slice_, slices, zone, is_spot)
    except LaunchError as e:
      lines.append(f'{kind}{chosen}: {e}')
      continue
    line = f'{kind}{chosen}: ${rate:,.2f} an hour'
    if hours is not None:
      line += f', ${rate * hours:,.2f} for the planned {hours:.2f} hours'
    lines.append(line)
  lines.append(f'List prices of {PRICES_READ}, from READY to deletion, busy or not; storage and network come on top.')
  return '\n'.join(lines)
