"""The file of the control socket: where it belongs, made and removed safely.

The recorder that may write to `/run/edgerec`, which systemd makes for the system's service, has it
there; any other has it in a folder of its user, so that several users can record on one machine.
"""

from __future__ import annotations

import grp
import logging
import os
import socket
import stat
from pathlib import Path
from typing import Final, Self

MODE: Final = 0o660  # owner and group: anyone who can connect can change what is recorded
BACKLOG: Final = 64  # connections that wait to be accepted while the thread is busy
NAME: Final = "control.sock"
SYSTEM_FOLDER: Final = Path("/run/edgerec")
SESSION_FOLDERS: Final = Path("/run/user")
TEMPORARY_FOLDER: Final = Path("/tmp")  # not $TMPDIR: every shell of a user finds the same
FOLDER_VARIABLE: Final = "XDG_RUNTIME_DIR"

log = logging.getLogger(__name__)


class ControlSocketError(Exception):
    """The control socket can't be made.

    Attributes
    ----------
    path
        The path at which it was to be made.
    """

    def __init__(self, path: Path, problem: str, hint: str) -> None:
        super().__init__(f"control socket {path}: {problem}; {hint}")
        self.path = path


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


class ControlSocket:
    """A listening socket and its file; a context manager that removes the file.

    Parameters
    ----------
    path
        Path of the socket. What a dead service left there is replaced.
    group
        Group whose members may connect, too; None: that of the process.

    Raises
    ------
    ControlSocketError
        There is no such folder or group, a running service has the socket, or the path is not a
        socket.
    """

    def __init__(self, path: Path, group: str | None = None) -> None:
        self.path = path
        group_id = None if group is None else _group_id(path, group)
        _clear(path)
        self.listener = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM | socket.SOCK_NONBLOCK)
        try:
            # Linux makes the file with the socket's own mode, so that it is never open to all.
            os.fchmod(self.listener.fileno(), MODE)
            self.listener.bind(str(path))
            path.chmod(MODE)  # restores what the umask removed
            if group_id is not None:
                _give_to(path, group_id)
            self.listener.listen(BACKLOG)  # last: nobody can connect before
            self._inode = path.stat().st_ino
        except ControlSocketError:
            self.listener.close()
            _remove(path)
            raise
        except OSError as error:
            self.listener.close()
            raise ControlSocketError(path, *_explained(path, error)) from error

    def close(self) -> None:
        """Stop listening, and remove the file unless another service's is there by now."""
        self.listener.close()
        try:
            if self.path.stat().st_ino == self._inode:
                self.path.unlink()
        except FileNotFoundError:
            pass
        except OSError as error:
            log.warning("the control socket is left path=%s why=%r", self.path, str(error))

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()


def _clear(path: Path) -> None:
    """Remove the socket of a service that has ended; connecting shows whether it has."""
    try:
        if not stat.S_ISSOCK(path.lstat().st_mode):
            raise ControlSocketError(
                path, "this is not a socket", "remove it, or set control.socket to another path"
            )
        # Without blocking: one that listens and never accepts, its queue full, holds nobody up.
        with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM | socket.SOCK_NONBLOCK) as probe:
            probe.connect(str(path))
    except FileNotFoundError:
        return
    except ConnectionRefusedError:
        _remove(path)
    except BlockingIOError:
        raise ControlSocketError(
            path,
            "a process listens there and does not answer",
            f"end it (`fuser -v {path}` shows which)",
        ) from None
    except OSError as error:
        raise ControlSocketError(path, *_explained(path, error)) from error
    else:
        raise ControlSocketError(
            path, "a running service listens there", "stop it, or set another control.socket"
        )


def _remove(path: Path) -> None:
    try:
        path.unlink(missing_ok=True)
    except OSError as error:
        raise ControlSocketError(path, *_explained(path, error)) from error


def _group_id(path: Path, group: str) -> int:
    try:
        return grp.getgrnam(group).gr_gid
    except KeyError:
        raise ControlSocketError(
            path, f"there is no group {group}", f"`groupadd {group}`, or set control.group"
        ) from None


def _give_to(path: Path, group_id: int) -> None:
    try:
        os.chown(path, -1, group_id)
    except PermissionError as error:
        name = grp.getgrgid(group_id).gr_name
        hint = "add its user to the group (systemd: SupplementaryGroups=), or set control.group"
        raise ControlSocketError(
            path, f"the service may not give it to group {name}", hint
        ) from error


def _explained(path: Path, error: OSError) -> tuple[str, str]:
    if isinstance(error, FileNotFoundError):
        hint = "create it (systemd's RuntimeDirectory= does), or set control.socket"
        return f"the folder {path.parent} does not exist", hint
    return str(error), "see who owns it, or set control.socket to another path"


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
