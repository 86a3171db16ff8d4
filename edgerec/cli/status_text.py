"""Formats the service's status as text."""

from __future__ import annotations

from collections.abc import Iterator

from edgerec.wire.messages import StatusDocument


def status_lines(status: StatusDocument) -> Iterator[str]:
    """Yield the status, what is wrong first."""
    yield f"{status['kiosk']}: {status['state']}, {_recording(status)}"
    for reason in status["reasons"]:
        yield f"  ! {reason['why']}"
        yield f"    -> {reason['hint']}"
    for name, track in status["tracks"].items():
        yield from _track(name, track, status["sample_rate"])
    if "echo" in status:  # a service that runs since before an upgrade has none
        yield from _echo(status["echo"])
    yield from _storage(status["storage"])
    last = status["last_published"]
    if last is not None:
        yield f"last published: {last['file']}, {duration(last['ago_seconds'])} ago"
    yield _machine(status)


def duration(seconds: float) -> str:
    """Return a length of time with the two units that matter."""
    whole = int(seconds)
    for unit_s, unit, part_s, part in ((86_400, "d", 3_600, "h"), (3_600, "h", 60, "min")):
        if whole >= unit_s:
            return f"{whole // unit_s} {unit} {whole % unit_s // part_s} {part}"
    return f"{whole // 60} min {whole % 60} s" if whole >= 60 else f"{whole} s"


def megabytes(count: int | None) -> str:
    """Return a number of bytes as people say it."""
    if count is None:
        return "?"
    return f"{count / 1e9:.1f} GB" if count >= 1e9 else f"{count / 1e6:.0f} MB"


def level(dbfs: float | None) -> str:
    """Return a level; digital silence has none."""
    return "silence" if dbfs is None else f"{dbfs:.1f} dBFS"


def _recording(status: StatusDocument) -> str:
    if not status["recording"]:
        return "waiting for a device" if status["activity"] == "waiting" else "not recording"
    return f"{status['activity']} for {duration(status['session_seconds'])}"


def _track(name: str, track: StatusDocument, rate: int | None) -> Iterator[str]:
    if track["state"] == "off":
        yield f"{name:4} off"
        return
    since = duration(track["for_seconds"])
    yield f"{name:4} {track['state']} for {since}, {track['device'] or 'no device yet'}"
    if track["drift_ppm"] is not None:
        yield (
            f"     peak {level(track['peak_dbfs'])}, rms {level(track['rms_dbfs'])}, "
            f"drift {track['drift_ppm']:+.1f} ppm, within {track['residual_us']:.0f} us"
        )
    if track["echo_delay_ms"] is not None:
        yield (
            f"     hears the bot {track['echo_return_db']:+.1f} dB, "
            f"{track['echo_delay_ms']:.0f} ms late"
        )
    gaps = [
        f"{gap['count']} {reason} ({gap['frames'] / rate:.1f} s)"
        for reason, gap in track["gaps"].items()
        if rate
    ]
    told = [f"gaps: {', '.join(gaps)}"] if gaps else []
    if track["restarts"]:
        told.append(f"{track['restarts']} restarts")
    if told:
        yield f"     {'; '.join(told)}"


def _echo(echo: StatusDocument) -> Iterator[str]:
    """Yield the echo of weeks, as the devices have it: without offset_ms."""
    if echo["delay_ms"] is not None:
        usual = _echo_of(echo["usual_delay_ms"], echo["usual_level_db"])
        now = _echo_of(echo["delay_ms"], echo["level_db"])
        yield f"echo {now}, usually {usual}; {echo['kept_days']} days kept"
    if echo["chirp"] is not None:
        chirp = echo["chirp"]
        heard = "not heard" if chirp["user_dbfs"] is None else f"{chirp['user_dbfs']:.0f} dBFS"
        late = "" if chirp["delay_ms"] is None else f"{chirp['delay_ms']:.1f} ms late, "
        yield f"last chirp {chirp['utc']}: {late}{heard}"
    if echo["trouble"] is not None:
        yield f"echo: {echo['trouble']}"


def _echo_of(delay_ms: float | None, level_db: float | None) -> str:
    delay = "?" if delay_ms is None else f"{delay_ms:.0f}"
    level = "?" if level_db is None else f"{level_db:+.1f}"
    return f"{delay} ms late at {level} dB"


def _storage(storage: StatusDocument) -> Iterator[str]:
    if storage["free_bytes"] is None:
        return
    yield (
        f"disk {megabytes(storage['free_bytes'])} free, {storage['hours_left']:.0f} hours left; "
        f"{megabytes(storage['unacknowledged_bytes'])} not fetched yet, "
        f"{storage['unpublished']} chunks to be published"
    )


def _machine(status: StatusDocument) -> str:
    trust = "" if status["clock"]["trusted"] else " (not synchronised)"
    return (
        f"edgerec {status['version']}: {megabytes(status['memory']['pss_bytes'])}, "
        f"{status['cpu_seconds']:.0f} CPU seconds in {duration(status['uptime_seconds'])}; "
        f"clock {status['clock']['utc']}{trust}"
    )
