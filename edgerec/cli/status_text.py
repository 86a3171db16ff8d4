"""Formats the service's status as text."""

from __future__ import annotations

from collections.abc import Iterator

from edgerec.health.status import EchoStatus, Status, StorageStatus, TrackStatus


def status_lines(status: Status) -> Iterator[str]:
    """Yield the status, what is wrong first."""
    yield f"{status.kiosk}: {status.state}, {_recording(status)}"
    for reason in status.reasons:
        yield f"  ! {reason.why}"
        yield f"    -> {reason.hint}"
    for name, track in status.tracks.items():
        yield from _track(name, track, status.sample_rate)
    yield from _echo(status.echo)
    yield from _storage(status.storage)
    last = status.last_published
    if last is not None:
        yield f"last published: {last.file}, {duration(last.ago_seconds)} ago"
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


def _recording(status: Status) -> str:
    if not status.recording:
        return "waiting for a device" if status.activity == "waiting" else "not recording"
    return f"{status.activity} for {duration(status.session_seconds or 0.0)}"


def _track(name: str, track: TrackStatus, rate: int | None) -> Iterator[str]:
    if track.state == "off":
        yield f"{name:4} off"
        return
    since = duration(track.for_seconds)
    yield f"{name:4} {track.state} for {since}, {track.device or 'no device yet'}"
    if track.drift_ppm is not None:
        yield (
            f"     peak {level(track.peak_dbfs)}, rms {level(track.rms_dbfs)}, "
            f"drift {track.drift_ppm:+.1f} ppm, within {_known(track.residual_us, '.0f')} us"
        )
    if track.echo_delay_ms is not None:
        yield (
            f"     hears the bot {_known(track.echo_return_db, '+.1f')} dB, "
            f"{track.echo_delay_ms:.0f} ms late"
        )
    gaps = [
        f"{gap.count} {reason} ({gap.frames / rate:.1f} s)"
        for reason, gap in track.gaps.items()
        if rate
    ]
    told = [f"gaps: {', '.join(gaps)}"] if gaps else []
    if track.restarts:
        told.append(f"{track.restarts} restarts")
    if told:
        yield f"     {'; '.join(told)}"


def _echo(echo: EchoStatus) -> Iterator[str]:
    """Yield the echo of weeks, as the devices have it: without offset_ms."""
    if echo.delay_ms is not None:
        usual = _echo_of(echo.usual_delay_ms, echo.usual_level_db)
        now = _echo_of(echo.delay_ms, echo.level_db)
        yield f"echo {now}, usually {usual}; {echo.kept_days} days kept"
    if echo.chirp is not None:
        chirp = echo.chirp
        heard = "not heard" if chirp.user_dbfs is None else f"{chirp.user_dbfs:.0f} dBFS"
        late = "" if chirp.delay_ms is None else f"{chirp.delay_ms:.1f} ms late, "
        yield f"last chirp {chirp.utc}: {late}{heard}"
    if echo.trouble is not None:
        yield f"echo: {echo.trouble}"


def _echo_of(delay_ms: float | None, level_db: float | None) -> str:
    return f"{_known(delay_ms, '.0f')} ms late at {_known(level_db, '+.1f')} dB"


def _known(value: float | None, form: str) -> str:
    return "?" if value is None else format(value, form)


def _storage(storage: StorageStatus) -> Iterator[str]:
    if storage.free_bytes is None:
        return
    yield (
        f"disk {megabytes(storage.free_bytes)} free, "
        f"{_known(storage.hours_left, '.0f')} hours left; "
        f"{megabytes(storage.unacknowledged_bytes)} not fetched yet, "
        f"{storage.unpublished} chunks to be published"
    )


def _machine(status: Status) -> str:
    trust = "" if status.clock.trusted else " (not synchronised)"
    return (
        f"edgerec {status.version}: {megabytes(status.memory.pss_bytes)}, "
        f"{status.cpu_seconds:.0f} CPU seconds in {duration(status.uptime_seconds)}; "
        f"clock {status.clock.utc}{trust}"
    )
