#!/usr/bin/env bash
# Sets everything up on a fresh machine and runs the main job or the tests.
#
#   ./launch.sh [FLAGS]          train configs/tinyvgg.py, or what --config=FILE names
#   ./launch.sh test [--slow]    lint and test
#   ./launch.sh setup            only set up
#
# Environment: FMNIST_JAX_VENV, the virtual environment (default: .venv here);
# FMNIST_JAX_ACCELERATOR, cpu, cuda or tpu (default: what the machine has); PYTHON, the
# interpreter (default: python3, or the newest python3.N if that is older than 3.11).
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")"
venv=${FMNIST_JAX_VENV:-$PWD/.venv}

say() { printf '%s\n' "launch.sh: $*" >&2; }
die() { say "error: $*"; exit 2; }

is_supported() {
  "$1" -c 'import sys; sys.exit(sys.version_info < (3, 11))' >/dev/null 2>&1
}

find_python() {
  local name
  for name in ${PYTHON:-python3 python3.13 python3.12 python3.11}; do
    if is_supported "$name"; then
      printf '%s\n' "$name"
      return
    fi
  done
  die "Python 3.11 or later is needed${PYTHON:+, and $PYTHON is not}; on Debian or" \
    "Ubuntu: apt-get install python3 python3-venv"
}

# The JAX extra that fits the machine: what the NVIDIA driver or the PCI bus says.
find_accelerator() {
  if [ -n "${FMNIST_JAX_ACCELERATOR:-}" ]; then
    printf '%s\n' "$FMNIST_JAX_ACCELERATOR"
  elif nvidia-smi --list-gpus 2>/dev/null | grep -q .; then
    printf 'cuda\n'
  elif compgen -G '/dev/accel*' >/dev/null ||
    { compgen -G '/dev/vfio/[0-9]*' >/dev/null &&
      grep -qs 0x1ae0 /sys/bus/pci/devices/*/vendor; }; then
    printf 'tpu\n' # 0x1ae0 is Google.
  else
    printf 'cpu\n'
  fi
}

make_venv() {
  local python=$1 extras=$2
  say "setting up $venv with $("$python" --version) (once, about 2 minutes)"
  if ! "$python" -m venv --clear "$venv" >"$venv.log" 2>&1; then
    # Debian and Ubuntu ship venv in a package of its own.
    local package
    package=python$("$python" -c 'import sys; print("%d.%d" % sys.version_info[:2])')-venv
    [ "$(id -u)" = 0 ] && command -v apt-get >/dev/null ||
      die "$python cannot make virtual environments (see $venv.log); on Debian or" \
        "Ubuntu: apt-get install $package"
    say "installing $package"
    { apt-get -q update && apt-get -qy install "$package"; } >"$venv.log" 2>&1 ||
      die "apt-get install $package failed; see $venv.log"
    "$python" -m venv --clear "$venv" >"$venv.log" 2>&1 || die "see $venv.log"
  fi
  "$venv/bin/python" -m pip install --quiet --disable-pip-version-check \
    --constraint constraints.txt --editable ".[$extras]" >"$venv.log" 2>&1 ||
    die "pip could not install what setup.cfg lists; see $venv.log"
  rm -f "$venv.log"
}

set_up() {
  local accelerator extras stamp
  accelerator=$(find_accelerator)
  case $accelerator in
    cpu) extras=test ;;
    cuda | tpu)
      extras=$accelerator,test
      say "found ${accelerator/cuda/an NVIDIA GPU}: using JAX's extra '$accelerator'"
      ;;
    *) die "FMNIST_JAX_ACCELERATOR must be cpu, cuda or tpu, not $accelerator" ;;
  esac
  stamp=$(printf '%s %s ' "$extras" "$PWD" "${PYTHON:-}" |
    cat - setup.cfg constraints.txt pyproject.toml | cksum)
  if [ "$(cat "$venv/.installed" 2>/dev/null)" != "$stamp" ]; then
    local python
    python=$(find_python)
    make_venv "$python" "$extras"
    printf '%s\n' "$stamp" >"$venv/.installed"
  fi
}

train() {
  local argument config=(--config=configs/tinyvgg.py)
  for argument in "$@"; do
    case $argument in --config | --config=* | --help*) config=() ;; esac
  done
  exec "$venv/bin/python" -m fmnist_jax.main "${config[@]}" "$@"
}

run_tests() {
  "$venv/bin/ruff" format --check .
  "$venv/bin/ruff" check .
  exec "$venv/bin/python" -m pytest "$@"
}

case ${1:-} in
  test)
    shift
    set_up
    run_tests "$@"
    ;;
  setup) set_up ;;
  '' | -*)
    set_up
    train "$@"
    ;;
  *) die "unknown command '$1'; try: ./launch.sh [FLAGS], ./launch.sh test [--slow]" ;;
esac
