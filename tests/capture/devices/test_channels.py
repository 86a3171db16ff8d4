"""Which channels are recorded, of devices as PortAudio and sound servers describe them."""

import array
from dataclasses import replace

import pytest

from edgerec.capture.devices.catalog import DeviceInfo
from edgerec.capture.devices.channels import (
    NO_REMIX,
    PROPERTIES,
    ChannelError,
    DeviceOpening,
    parse_channels,
    plan_opening,
    stream_positions,
)

FIVE_ONE = ("front-left", "front-right", "rear-left", "rear-right", "front-center", "lfe")
SMPTE = ("front-left", "front-right", "front-center", "lfe", "rear-left", "rear-right")
AUX = tuple(f"aux{n}" for n in range(6))


def card(channels=6):
    return DeviceInfo("alsa:Array,0", "Array: USB (hw:1,0)", "ALSA", 0, 48_000, channels, False)


def source(*positions, is_pipewire=False):
    return DeviceInfo(
        *("pulse:mic", "A microphone", "ALSA", 0, 48_000, len(positions), False),
        pulse_source="mic",
        is_pipewire=is_pipewire,
        positions=positions,
    )


@pytest.mark.parametrize("asked", [1, 2, 6, 8])
@pytest.mark.parametrize("device", [card(), source(*FIVE_ONE), source(*SMPTE, is_pipewire=True)])
def test_a_number_opens_as_many_channels_or_those_that_there_are(asked, device):
    assert plan_opening(asked, device) == DeviceOpening(min(asked, 6), None)


@pytest.mark.parametrize(
    ("picked", "opened", "taken"),
    [
        ((3,), 3, (2,)),
        ((1, 2), 2, None),
        ((2, 1), 2, (1, 0)),
        ((6, 1), 6, (5, 0)),
        ((1,), 2, (0,)),  # one of six would be their mean behind a plug
    ],
)
def test_a_card_is_opened_as_far_as_the_last_channel_that_is_picked(picked, opened, taken):
    assert plan_opening(picked, card()) == DeviceOpening(opened, taken)


def test_a_card_of_one_channel_has_a_first():
    assert plan_opening((1,), card(channels=1)) == DeviceOpening(1, None)


@pytest.mark.parametrize("device", [card(2), source(*FIVE_ONE[:2])])
def test_a_channel_that_is_not_there_is_an_error_and_not_another_channel(device):
    with pytest.raises(ChannelError, match="has 2 channels, so there is no channel 3") as raised:
        plan_opening((1, 3), device)
    assert raised.value.hint


@pytest.mark.parametrize("is_pipewire", [False, True])
def test_a_servers_channel_is_picked_by_its_position_with_all_others_opened(is_pipewire):
    """Behind a stream of fewer channels the server would mix the rest into them."""
    same = source(*FIVE_ONE, is_pipewire=is_pipewire)
    other = source(*SMPTE, is_pipewire=is_pipewire)
    assert plan_opening((3,), same).taken == (2,)  # rear-left
    assert plan_opening((3,), other).taken == (4,)  # front-center
    assert plan_opening((3,), same).opened == plan_opening((3,), other).opened == 6


def test_pulseaudios_aux_channels_are_behind_all_that_have_a_name():
    assert plan_opening((3, 6), source(*AUX)) == DeviceOpening(14, (10, 13))
    assert plan_opening((2,), source("front-left", "aux0")) == DeviceOpening(3, (2,))


def test_pipewires_aux_channels_come_by_their_order_where_nothing_is_mixed():
    opening = plan_opening((3,), source(*AUX, is_pipewire=True))
    assert opening == DeviceOpening(3, (2,), NO_REMIX)
    assert opening.prepare({}) == {PROPERTIES: NO_REMIX}
    assert opening.prepare({PROPERTIES: "media.role=x"}) == {PROPERTIES: f"media.role=x {NO_REMIX}"}


@pytest.mark.parametrize(("is_pipewire", "opening"), [(False, (14, (8, 9))), (True, (2, None))])
def test_a_number_of_aux_channels_means_the_first_ones(is_pipewire, opening):
    planned = plan_opening(2, source(*AUX, is_pipewire=is_pipewire))
    assert (planned.opened, planned.taken) == opening


def test_one_channel_of_aux_ones_is_what_the_server_mixes_of_them():
    assert plan_opening(1, source(*AUX)) == DeviceOpening(1, None)


@pytest.mark.parametrize(
    "device",
    [
        source("front-left", "top-center"),
        source("mono", "mono"),
        source("aux1", "aux0", is_pipewire=True),
        source("aux0", "front-left", is_pipewire=True),
    ],
)
def test_positions_that_no_stream_has_are_an_error_with_the_command_to_type(device):
    with pytest.raises(ChannelError) as raised:
        plan_opening((2,), device)
    wanted = device.positions[1]
    assert "pactl load-module module-remap-source" in raised.value.hint
    assert (
        f"master=mic channels=1 master_channel_map={wanted} channel_map=mono" in raised.value.hint
    )


def test_positions_that_nobody_knows_are_an_error():
    with pytest.raises(ChannelError, match=r"positions of the channels of .* are unknown"):
        plan_opening((1,), replace(source(*FIVE_ONE), positions=()))


def test_the_pcm_behind_which_any_source_may_be_is_no_device_to_pick_from():
    with pytest.raises(ChannelError, match="depends on the source"):
        plan_opening((1,), replace(card(32), id="pulse", name="pulse"))


@pytest.mark.parametrize("count", range(1, 33))
def test_a_stream_has_as_many_positions_as_channels_each_once(count):
    positions = stream_positions(count)
    assert len(set(positions)) == len(positions) == count


def interleaved(frames, channels):
    """Samples that tell their frame and channel."""
    return array.array("h", [100 * f + c for f in range(frames) for c in range(channels)])


@pytest.mark.parametrize("taken", [(0,), (5,), (2, 4), (2, 3), (3, 4), (4, 2, 0), None])
def test_nothing_but_the_channels_that_are_picked_is_sent(taken):
    opening = DeviceOpening(6, taken)
    sent = array.array("h", bytes(opening.take(interleaved(50, 6))))
    wanted = range(6) if taken is None else taken
    assert sent.tolist() == [100 * f + c for f in range(50) for c in wanted]
    assert opening.sent == len(wanted)


def test_two_neighbours_of_an_odd_number_are_taken_as_well():
    sent = array.array("h", bytes(DeviceOpening(5, (2, 3)).take(interleaved(50, 5))))
    assert sent.tolist() == [100 * f + c for f in range(50) for c in (2, 3)]


def test_channels_are_read_from_the_childs_command():
    assert (parse_channels("2"), parse_channels("[3]"), parse_channels("[2, 1]")) == (
        2,
        (3,),
        (2, 1),
    )
    for text in ("[]", '"1"', "{}", "x"):
        with pytest.raises(ValueError, match=r"Expecting|neither"):
            parse_channels(text)
