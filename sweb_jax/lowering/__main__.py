"""What a config's steps need of devices that are not at hand: compiled for simulated ones, nothing allocated.

    python -m sweb_jax.lowering --config=configs/FILE.py --devices=64 --hbm_gb=16

Prints, for each generator and learner, what computing prompts and drawing need a device, and for each learner training;
with the messages between devices. Ends with status 1 where a step needs more than `--hbm_gb`. docs/pods.md says how
far the numbers carry.
"""

from __future__ import annotations

import os
import sys

from absl import app, flags
from ml_collections import config_flags

_CONFIG = config_flags.DEFINE_config_file(
  'config', None, 'The experiment: a file with get_config().', lock_config=False, accept_new_attributes=True
)
_DEVICES = flags.DEFINE_integer('devices', None, 'Devices to simulate; config.mesh says how they are used.', 1, 4096)
_HOSTS = flags.DEFINE_integer('hosts', 1, 'Processes that have the devices between them: each draws by itself.', 1)
_HBM = flags.DEFINE_float('hbm_gb', 0.0, 'Memory of a device in GB: v5e 16, v6e 32, v5p 95; 0: only report.', 0.0)


def main(argv: list[str]) -> None:
  if len(argv) > 1:
    raise app.UsageError(f'unexpected arguments {argv[1:]}; flags are written --name=value')
  # Before JAX is imported. A program out of the cache would not say what XLA had to say of it.
  os.environ['XLA_FLAGS'] = f'--xla_force_host_platform_device_count={_DEVICES.value}'
  os.environ |= {'JAX_PLATFORMS': 'cpu', 'TF_CPP_MIN_LOG_LEVEL': '1'}
  os.environ.pop('JAX_COMPILATION_CACHE_DIR', None)
  from sweb_jax import config as config_lib
  from sweb_jax.lowering import compiling
  from sweb_jax.models import sharding
  from sweb_jax.runtime import terminal

  console = terminal.console()
  hbm = _HBM.value * 1e9
  try:
    config = config_lib.resolve(_CONFIG.value, config_flags.get_override_values(flags.FLAGS['config']))
    config_lib.validate(config)
    found = compiling.lower(config, hbm, _HOSTS.value)
    mesh = sharding.make_mesh(**config.mesh)
    compiling.show(found, mesh.shape, sharding.part_to_draw(mesh, _HOSTS.value, 0).shape, console)
    if hbm and (wrong := compiling.misfits(found, hbm)):
      raise compiling.LoweringError('\n'.join(wrong))
  except (ValueError, OSError) as e:
    print(f'Error: {e}', file=sys.stderr)
    sys.exit(1)


if __name__ == '__main__':
  flags.mark_flags_as_required(['config', 'devices'])
  app.run(main)
