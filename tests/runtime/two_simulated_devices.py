"""Small programs in large numbers, then some that wait for each other, on two simulated devices and two cores."""

import os

os.sched_setaffinity(0, sorted(os.sched_getaffinity(0))[:2])
os.environ |= {'XLA_FLAGS': '--xla_force_host_platform_device_count=2', 'JAX_PLATFORMS': 'cpu'}

from sweb_jax.runtime import devices  # noqa: E402

devices.room_for_simulated_devices()

import jax  # noqa: E402
import jax.numpy as jnp  # noqa: E402
import numpy as np  # noqa: E402
from jax.sharding import Mesh, NamedSharding, PartitionSpec  # noqa: E402

mesh = Mesh(np.asarray(jax.devices()), ('rows',))
split, whole = NamedSharding(mesh, PartitionSpec('rows')), NamedSharding(mesh, PartitionSpec())
x = jax.device_put(jnp.ones((2, 200, 200)), split)
add = jax.jit(lambda a: a + 1)
multiply = jax.jit(lambda a: jax.lax.with_sharding_constraint(a, whole) @ a.swapaxes(1, 2), out_shardings=whole)
for _ in range(6):
  many = [add(x) for _ in range(100)]
  products = [multiply(a) for a in many[:40]]
  print(float(products[-1][0, 0, 0]), flush=True)
