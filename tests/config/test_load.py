"""The configuration: what a good file gives, and which file is read."""

import socket
from pathlib import Path

import pytest

from edgerec import config as config_package
from edgerec.config import Config, ConfigError, load, load_config

# What a good file gives


@pytest.mark.parametrize("text", ["{}", "---\n{}", "recording:\ntracks:\n  bot:\n#\nstorage: {}"])
def test_empty_mapping_and_empty_sections_mean_the_defaults(load_text, text):
    assert load_text(text) == Config()


def test_given_values_replace_defaults_and_leave_the_others(load_text):
    config = load_text(
        "kiosk_id: k1\n"
        "recording: {chunk_seconds: 30, num_channels: 1}\n"
        "tracks: {bot: {env: {PULSE_SOURCE: speaker.monitor}}}\n"
        "storage: {root: /data}\n"
    )
    assert config.kiosk_id == "k1"
    assert config.recording.chunk_seconds == 30
    assert config.recording.num_channels == 1
    assert config.tracks.bot.env == {"PULSE_SOURCE": "speaker.monitor"}
    assert config.tracks.bot.channels == 2
    assert config.tracks.user == Config().tracks.user
    assert config.storage.root == Path("/data")


def test_null_unsets_what_may_be_unset(load_text):
    assert load_text("recording: {sample_rate: null}").recording.sample_rate is None


def test_blank_mapping_or_list_is_an_empty_one(load_text):
    config = load_text("tracks: {user: {env: }}\nhooks: {on_chunk: }")
    assert config.tracks.user.env == {}
    assert config.hooks.on_chunk == ()


def test_byte_order_mark_of_a_windows_editor_is_no_error(load_text):
    assert load_text(b"\xef\xbb\xbfkiosk_id: k1\n").kiosk_id == "k1"


def test_buffer_size_counts_bytes_of_one_16_bit_track(load_text):
    recording = load_text("recording: {buffer_size: 960000}").recording
    assert recording.chunk_frames(16_000) == 30 * 16_000


def test_chunk_seconds_are_rounded_to_the_nearest_frame(load_text):
    recording = load_text("recording: {chunk_seconds: 7.3}").recording
    assert recording.chunk_frames(44_100) == 321_930
    assert load_text("recording: {chunk_seconds: 0.10001}").recording.chunk_frames(8_000) == 800


def test_without_buffer_size_or_chunk_seconds_only_the_ceiling_ends_a_chunk():
    assert Config().recording.chunk_frames(16_000) is None
    assert Config().recording.max_file_frames(16_000) == 3_600 * 16_000


@pytest.mark.parametrize(
    ("host", "kiosk"),
    [("kiosk-7.shop", "kiosk-7.shop"), ("café 1", "caf--1"), ("x" * 70, "x" * 64), ("", "kiosk")],
)
def test_kiosk_without_an_id_has_the_host_name_made_fit_for_a_folder(monkeypatch, host, kiosk):
    monkeypatch.setattr(socket, "gethostname", lambda: host)
    assert Config().kiosk == kiosk
    assert Config(kiosk_id="k1").kiosk == "k1"


# Which file


def test_without_any_file_nothing_is_recorded_and_paths_are_the_defaults(monkeypatch, tmp_path):
    monkeypatch.delenv("EDGEREC_CONFIG", raising=False)
    monkeypatch.setattr(load, "DEFAULT_FILE", tmp_path / "none.yaml")
    assert config_package.default_file() is None
    assert load_config(records=False) == Config()
    with pytest.raises(ConfigError, match="there is no configuration; name one by --config"):
        load_config()


def test_default_file_that_is_there_applies_and_the_variable_wins_over_it(monkeypatch, tmp_path):
    standard, named = tmp_path / "standard.yaml", tmp_path / "named.yaml"
    standard.write_text("kiosk_id: standard\n")
    named.write_text("kiosk_id: named\n")
    monkeypatch.setattr(load, "DEFAULT_FILE", standard)
    monkeypatch.delenv("EDGEREC_CONFIG", raising=False)
    assert load_config(records=False).kiosk_id == "standard"
    monkeypatch.setenv("EDGEREC_CONFIG", str(named))
    assert load_config(records=False).kiosk_id == "named"


def test_missing_file_that_was_named_is_an_error_and_not_the_defaults(monkeypatch, tmp_path):
    monkeypatch.setenv("EDGEREC_CONFIG", str(tmp_path / "gone.yaml"))
    with pytest.raises(ConfigError, match=r"gone\.yaml: 1 problem\n.*No such file"):
        load_config()


def test_default_file_that_cannot_be_looked_at_is_not_taken_for_absent(monkeypatch, tmp_path):
    (tmp_path / "etc").write_text("a file where a folder should be")
    monkeypatch.setattr(load, "DEFAULT_FILE", tmp_path / "etc" / "edgerec.yaml")
    monkeypatch.delenv("EDGEREC_CONFIG", raising=False)
    with pytest.raises(ConfigError, match="Not a directory"):
        load_config()


def test_unreadable_file_says_which_and_why(tmp_path):
    with pytest.raises(ConfigError) as caught:
        load_config(tmp_path)
    assert caught.value.file == tmp_path
    assert "Is a directory" in str(caught.value)
