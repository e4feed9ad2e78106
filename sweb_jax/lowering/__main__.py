"""What a config's steps need of machines that are not at hand: compiled, nothing allocated.

    python -m sweb_jax.lowering --config=configs/FILE.py --slice=v5e-64,v6e-64 [--layers=N]
    python -m sweb_jax.lowering --config=configs/FILE.py --devices=64 --hosts=16 --hbm_gb=16

With `--slice` the TPU's own compiler compiles them for real slices: memory, messages and time of each step. With
`--devices` the CPU's does for simulated ones, which needs nothing installed and tells no time. Ends with status 1 where
a step does not fit, or is refused. docs/pods.md says how far the numbers carry.
"""

from __future__ import annotations

import os
import sys

from absl import app, flags
from ml_collections import config_flags

from sweb_jax.runtime import terminal

_CONFIG = config_flags.DEFINE_config_file(
  'config', None, 'The experiment: a file with get_config().', lock_config=False, accept_new_attributes=True
)
_SLICES = flags.DEFINE_list(
  'slice',
  [],
  "Slices of TPUs as 'v5e-64', by names of launch/, or '2xv5e-16', two that work together; needs the extra `tpu`.",
)
_LAYERS = flags.DEFINE_integer('layers', 0, 'With --slice: compile so many layers at full width; 0: all.', 0)
_DEVICES = flags.DEFINE_integer('devices', None, 'Devices to simulate; config.mesh says how they are used.', 1, 4096)
_HOSTS = flags.DEFINE_integer('hosts', 1, 'With --devices: processes that have them between them.', 1)
_HBM = flags.DEFINE_float('hbm_gb', 0.0, 'With --devices: memory of one in GB; 0: only report.', 0.0)


def main(argv: list[str]) -> None:
  if len(argv) > 1:
    raise app.UsageError(f'unexpected arguments {argv[1:]}; flags are written --name=value')
  if bool(_SLICES.value) == bool(_DEVICES.value):
    raise app.UsageError('give --slice=NAME for the TPU compiler, or --devices=N for simulated devices of a CPU')
  # Before JAX is imported. A program out of the cache would not say what XLA had to say of it.
  os.environ['XLA_FLAGS'] = f'--xla_force_host_platform_device_count={_DEVICES.value or 1}'
  os.environ |= {'JAX_PLATFORMS': 'cpu', 'TF_CPP_MIN_LOG_LEVEL': '1' if _DEVICES.value else '3'}
  os.environ.pop('JAX_COMPILATION_CACHE_DIR', None)
  from sweb_jax import config as config_lib
  from sweb_jax.lowering import compiling, on_slices, tables

  console = terminal.console()
  try:
    config = config_lib.resolve(_CONFIG.value, config_flags.get_override_values(flags.FLAGS['config']))
    config_lib.validate(config)
    if _SLICES.value:
      wrong = [line for name in _SLICES.value for line in on_slices.show(config, name, _LAYERS.value, console)]
    else:
      hbm = _HBM.value * 1e9
      found = compiling.lower(config, hbm, _HOSTS.value)
      tables.show(found, console)
      wrong = tables.misfits(found, hbm) if hbm else []
    if wrong:
      raise compiling.LoweringError('\n'.join(wrong))
  except (ValueError, OSError) as e:
    print(f'Error: {e}', file=sys.stderr)
    sys.exit(1)


if __name__ == '__main__':
  flags.mark_flags_as_required(['config'])
  terminal.start(main)
