"""Default path of the control socket.

The recorder that may write to `/run/edgerec`, which systemd makes for the system's service, has it
there; any other has it in a folder of its user, so that several users can record on one machine.
"""

from __future__ import annotations

import os
import stat
from pathlib import Path
from typing import Final

from edgerec.service.control.socket import ControlSocketError

NAME: Final = "control.sock"
SYSTEM_FOLDER: Final = Path("/run/edgerec")
SESSION_FOLDERS: Final = Path("/run/user")
TEMPORARY_FOLDER: Final = Path("/tmp")  # not $TMPDIR: every shell of a user finds the same
FOLDER_VARIABLE: Final = "XDG_RUNTIME_DIR"


def socket_to_make() -> Path:
    """Return where this process's control socket belongs; make its folder if it is a user's own.

    Raises
    ------
    ControlSocketError
        There can be no such folder, or it is not only this user's.
    """
    if os.access(SYSTEM_FOLDER, os.W_OK | os.X_OK):
        return SYSTEM_FOLDER / NAME
    path = _own_folder() / NAME
    try:
        path.parent.mkdir(mode=0o700, exist_ok=True)
    except OSError as error:
        raise ControlSocketError(path, str(error), "set control.socket") from error
    if not _only_user_writes(path.parent):
        raise ControlSocketError(
            path, f"{path.parent} is open to other users", "remove it, or set control.socket"
        )
    return path


def sockets_to_try() -> tuple[Path, ...]:
    """Return where a service may listen, the user's own first."""
    own = _own_folder()
    # In /tmp another user may have made it, to answer in place of the service.
    is_trusted = not os.path.lexists(own) or _only_user_writes(own)
    return (*([own / NAME] if is_trusted else []), SYSTEM_FOLDER / NAME)


def _own_folder() -> Path:
    """Return the folder of this user's recorder, the same with and without a session."""
    user = os.geteuid()
    for folder in (os.environ.get(FOLDER_VARIABLE, ""), SESSION_FOLDERS / str(user)):
        # `su` and `sudo -E` keep the variable of another user.
        if Path(folder).is_absolute() and _is_of(user, Path(folder)):
            return Path(folder) / "edgerec"
    return TEMPORARY_FOLDER / f"edgerec-{user}"


def _is_of(user: int, folder: Path, *, closed_to: int = 0) -> bool:
    try:
        found = folder.lstat()
    except OSError:
        return False
    is_open = found.st_mode & closed_to
    return stat.S_ISDIR(found.st_mode) and found.st_uid == user and not is_open


def _only_user_writes(folder: Path) -> bool:
    return _is_of(os.geteuid(), folder, closed_to=0o022)
