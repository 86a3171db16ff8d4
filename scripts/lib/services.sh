# Sourced by scripts/install, upgrade and uninstall: what runs edgerec on a kiosk, and how it is asked.
# A service is named by the user in whose session it runs, or `.system`. `say` is the name that they
# speak by.
# shellcheck shell=bash

readonly SYSTEM=.system # no user's name begins with a dot
readonly UNIT=/etc/systemd/system/edgerec.service
readonly USER_UNIT=/etc/systemd/user/edgerec.service

# Prints the services that are enabled, or run without that.
services_in_use() {
  if systemctl is-enabled --quiet edgerec.service 2>/dev/null || is_active "$SYSTEM"; then
    echo "$SYSTEM"
  fi
  [[ ! -e $USER_UNIT ]] || session_users
}

# Prints the users in whose sessions edgerec is enabled, or runs without that.
session_users() {
  local user home
  while IFS=: read -r user _ _ _ _ home _; do
    if [[ $(links_in "$home/.config/systemd/user") ]] || is_active "$user" </dev/null; then
      echo "$user"
    fi
  done < <(getent passwd)
}

# Prints the links that have a user's systemd start edgerec.
links_in() {
  compgen -G "$1/*.wants/edgerec.service" || true
}

# Prints a service as it is spoken of.
spoken() {
  if [[ $1 == "$SYSTEM" ]]; then
    echo "the system's service"
  else
    echo "the service in the session of $1"
  fi
}

# Prints several.
all_spoken() {
  local service told=''
  for service in "$@"; do
    told+="${told:+ and }$(spoken "$service")"
  done
  echo "$told"
}

# Prints the command that shows how a service is.
status_of() {
  if [[ $1 == "$SYSTEM" ]]; then
    echo 'systemctl status edgerec'
  else
    echo "systemctl --user status edgerec (as $1)"
  fi
}

# Prints the command that shows what a service has logged.
log_of() {
  if [[ $1 == "$SYSTEM" ]]; then
    echo 'journalctl -u edgerec'
  else
    echo 'journalctl _SYSTEMD_USER_UNIT=edgerec.service'
  fi
}

# Tells whether a service's systemd runs: not so in an image that is being built, nor for a user who
# is not logged in and does not linger.
has_systemd() {
  if [[ $1 == "$SYSTEM" ]]; then
    systemd_runs
  else
    [[ -S /run/user/$(id -u "$1")/systemd/private ]]
  fi
}

# Not so in an image that is being built; the service then starts at its first boot.
systemd_runs() {
  [[ -d /run/systemd/system ]]
}

# Tells whether a service runs, or is about to: one that ends at each start is started again.
is_active() {
  has_systemd "$1" && [[ $(property "$1" ActiveState) != @(inactive|failed) ]]
}

# Runs systemctl for a service.
ask_systemd() {
  if [[ $1 == "$SYSTEM" ]]; then
    systemctl "${@:2}"
  else
    as_user "$1" systemctl --user "${@:2}"
  fi
}

property() {
  ask_systemd "$1" show -P "$2" edgerec.service
}

# Runs a command as the user of a service, who finds that service's socket.
as_user() {
  if [[ $1 == "$SYSTEM" ]]; then
    env --unset=XDG_RUNTIME_DIR "${@:2}"
  else
    runuser -u "$1" -- env XDG_RUNTIME_DIR="/run/user/$(id -u "$1")" "${@:2}"
  fi
}

# Has the systemd of the system, and of each user's session with edgerec, read changed units.
reload_units() {
  local service
  for service in "$SYSTEM" "$@"; do
    ! has_systemd "$service" || ask_systemd "$service" daemon-reload
  done
}

# Prints the numbers of the processes that have a folder's libraries loaded, as every recorder has.
processes_of() {
  { grep -lsF " $1/" /proc/[0-9]*/maps || true; } | cut -d/ -f3
}
