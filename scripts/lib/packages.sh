# Sourced by scripts that install Debian packages. `say` is the name that they speak by.
# shellcheck shell=bash

# What edgerec needs at run time; what it also needs as a service; and what building
# systemd-python needs, which has no wheel.
readonly -a RUNTIME_PACKAGES=(
  python3 python3-venv
  libportaudio2 # sounddevice loads it
)
# shellcheck disable=SC2034
readonly -a SERVICE_PACKAGES=(
  "${RUNTIME_PACKAGES[@]}"
  pulseaudio-utils libasound2-plugins # devices of a sound server; nothing else pulls them in
  procps                              # /bin/kill, by which the unit reloads
)
readonly -a BUILD_PACKAGES=(gcc libc6-dev pkg-config python3-dev libsystemd-dev)

# Installs those of the packages that are missing.
install_packages() {
  local -a packages
  mapfile -t packages < <(missing "$@")
  ((${#packages[@]})) || return 0
  if ! command -v apt-get >/dev/null; then
    echo "$say: this system has no apt-get; install the like of: ${packages[*]}" >&2
    exit 1
  fi
  echo "$say: installing system packages: ${packages[*]}"
  # A minimal image has no package lists at all; others may have lists that are out of date.
  has_lists || update_lists
  apt_install "${packages[@]}" || {
    echo "$say: trying once more, with fresh package lists"
    update_lists
    apt_install "${packages[@]}"
  }
}

# Prints those of the packages that are not installed.
missing() {
  comm -23 <(printf '%s\n' "$@" | sort) <(installed "$@" | sort -u)
}

# Prints those of the packages that are installed.
installed() {
  dpkg-query -W -f '${db:Status-Status} ${Package}\n' "$@" 2>/dev/null | sed -n 's/^installed //p'
}

has_lists() {
  compgen -G '/var/lib/apt/lists/*Packages*' >/dev/null
}

update_lists() {
  as_root apt-get update -qq
}

# Nobody who runs these scripts has asked for a package of theirs to go.
apt_install() {
  local removed
  removed=$(removed_by "$@") || return
  if [[ $removed ]]; then
    echo "$say: this would remove $removed; if you want that: sudo apt install $*" >&2
    exit 1
  fi
  as_root env DEBIAN_FRONTEND=noninteractive \
    apt-get install -y -qq -o Dpkg::Use-Pty=0 --no-install-recommends "$@"
}

# Prints what apt would remove to install these packages.
removed_by() {
  apt-get --simulate install --no-install-recommends "$@" | sed -n 's/^Remv \([^ ]*\).*/\1/p' | paste -sd ' '
}

as_root() {
  if ((EUID == 0)); then
    "$@"
  elif command -v sudo >/dev/null; then
    sudo "$@"
  else
    echo "$say: this needs root, and there is no sudo; as root: $*" >&2
    exit 1
  fi
}
