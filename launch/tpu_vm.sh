#!/usr/bin/env bash
# Runs a study on one Cloud TPU VM: environment once, then the command with the flags given. See launch/README.md.
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/.."

python=${PYTHON:-python3}
version=$("$python" -c 'import sys; print(f"py{sys.version_info[0]}{sys.version_info[1]}")')
constraints=constraints/$version.txt
if [ ! -f "$constraints" ]; then
  echo "launch/tpu_vm.sh: tested Python versions are $(ls constraints | sed 's/\.txt//' | tr '\n' ' '); found $version. Set PYTHON." >&2
  exit 1
fi
if [ ! -f .venv/.complete ]; then
  "$python" -m venv .venv
  .venv/bin/pip install --quiet --constraint "$constraints" --editable . 'jax[tpu]'
  touch .venv/.complete  # An install that was cut short is done again.
fi
exec .venv/bin/python -m sweb_jax.main "$@"
