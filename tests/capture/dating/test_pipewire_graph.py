"""Who drives PipeWire's graph, how long its cycles are, and what that means for a stream."""

import json

import pytest

from edgerec.capture.dating.pipewire_graph import MAX_CHAIN, UNREADABLE, clock_rate, stream_place

PID = 4711
RATE = 48_000
NULL = {"factory.name": "support.null-audio-sink", "node.driver": True}


def node(number, *, state="running", **properties):
    named = {key.replace("__", "-").replace("_", "."): value for key, value in properties.items()}
    named.setdefault("object.serial", number)
    info = {"state": state, "props": named}
    return {"id": number, "type": "PipeWire:Interface:Node", "info": info}


def sink(number, **properties):
    made = node(number, media_class="Audio/Sink", **properties)
    made["info"]["props"].update(NULL)
    return made


def ours(number=90, **properties):
    properties.setdefault("application.process.id", PID)
    made = node(number, media_class="Stream/Input/Audio")
    made["info"]["props"] |= properties
    return made


def link(output, input_):
    info = {"output-node-id": output, "input-node-id": input_, "state": "active"}
    return {"id": 1000 + output, "type": "PipeWire:Interface:Link", "info": info}


def settings(**values):
    entries = [
        {"subject": 0, "key": f"clock.{key.replace('_', '-')}", "type": "", "value": value}
        for key, value in values.items()
    ]
    return {"id": 29, "type": "PipeWire:Interface:Metadata", "metadata": entries}


def remapped(number, group="loopback-1-2"):
    """A source, and the stream by which it records."""
    source = node(number, media_class="Audio/Source")
    inner = node(number + 1, media_class="Stream/Input/Audio")
    for one in (source, inner):
        one["info"]["props"]["node.link-group"] = group
    return [source, inner]


def player(number, latency="960/48000", **options):
    made = node(number, media_class="Stream/Output/Audio", **options)
    made["info"]["props"]["node.latency"] = latency
    return made


def place(*items):
    return stream_place(json.dumps(items), PID)


def test_the_monitor_of_the_sink_that_drives_is_as_late_as_it_is_played():
    found = place(sink(38), ours(), link(38, 90))
    assert (found.later_us, found.doubt_us) == (0, 0)


def test_a_sink_that_follows_hands_out_what_is_played_in_the_next_cycle():
    """One player is linked to both; the sink that was there first drives."""
    graph = [sink(38), sink(39), player(53), link(53, 38), link(53, 39)]
    assert place(*graph, ours(), link(39, 90)).later_us == 512 * 1_000_000 // RATE
    assert place(*graph, ours(), link(38, 90)).later_us == 0


def test_the_driver_of_the_highest_priority_drives_whichever_was_there_first():
    second = sink(39)
    second["info"]["props"]["priority.driver"] = 1000
    graph = [sink(38), second, player(53), link(53, 38), link(53, 39)]
    assert place(*graph, ours(), link(39, 90)).later_us == 0
    assert place(*graph, ours(), link(38, 90)).later_us > 0


def test_a_remapped_monitor_is_the_monitor():
    graph = [sink(38), sink(39), player(53), link(53, 38), link(53, 39), *remapped(60)]
    found = place(*graph, link(39, 61), ours(), link(60, 90))
    assert found.later_us == 512 * 1_000_000 // RATE
    assert found.doubt_us == 0


def test_another_virtual_source_leaves_the_doubt_of_a_cycle():
    graph = [sink(38), *remapped(60, group="echo-cancel-1"), link(38, 61), ours(), link(60, 90)]
    found = place(*graph)
    assert found.doubt_us == found.quantum_us


def test_a_card_leaves_the_doubt_of_a_cycle():
    """No card could be tried."""
    microphone = node(44, media_class="Audio/Source", factory_name="api.alsa.pcm.source")
    microphone["info"]["props"]["node.driver"] = True
    found = place(microphone, ours(), link(44, 90))
    assert (found.later_us, found.doubt_us) == (0, found.quantum_us)


@pytest.mark.parametrize(
    ("latencies", "clock", "quantum"),
    [
        ((), {}, 1024),
        ((), {"quantum": 2048}, 2048),
        (("960/48000", "48000/48000"), {}, 512),
        (("48000/48000",), {}, 2048),
        (("48000/48000",), {"max_quantum": 1024}, 1024),
        (("16/48000",), {"min_quantum": 64}, 64),
        (("882/44100",), {}, 512),
        (("960/48000",), {"force_quantum": 256}, 256),
        (("nonsense", "960/0", "0/48000"), {}, 1024),
    ],
)
def test_a_cycle_is_as_long_as_the_least_latency_that_is_asked_for(latencies, clock, quantum):
    players = [player(50 + nth, latency) for nth, latency in enumerate(latencies)]
    links = [link(one["id"], 38) for one in players]
    found = place(settings(**clock), sink(38), *players, *links, ours(), link(38, 90))
    assert found.quantum == quantum
    assert found.quantum_us == quantum * 1_000_000 // RATE


def test_a_player_elsewhere_or_at_rest_shortens_no_cycle():
    resting = player(54, state="idle")
    graph = [sink(38), sink(39), player(53), link(53, 39), resting, link(54, 38)]
    assert place(*graph, ours(), link(38, 90)).quantum == 1024


def test_a_stream_is_found_by_what_the_kernel_says_of_its_client():
    stream = ours(**{"application.process.id": None, "client.id": 70})
    client = {"id": 70, "type": "PipeWire:Interface:Client"}
    client["info"] = {"props": {"pipewire.sec.pid": PID}}
    assert place(sink(38), stream, client, link(38, 90)) is not None


def test_what_is_not_linked_or_not_there_has_no_place():
    assert place(sink(38)) is None
    assert place(sink(38), ours()) is None


def test_virtual_sources_in_a_circle_end():
    found = place(*remapped(60), link(60, 61), ours(), link(60, 90))
    assert MAX_CHAIN
    assert found.doubt_us == found.quantum_us


@pytest.mark.parametrize("text", ["", "[", "[{}]", '[{"type": "x:Node", "info": 3}]', "3", "[3]"])
def test_what_pw_dump_never_prints_is_an_error_that_is_named(text):
    with pytest.raises(UNREADABLE):
        stream_place(text, PID)


def test_the_rate_is_the_graph_s_whatever_devices_have():
    assert clock_rate(json.dumps([sink(38)])) == RATE
    assert clock_rate(json.dumps([settings(rate=44_100)])) == 44_100
    assert clock_rate(json.dumps([settings(rate=44_100, force_rate=96_000)])) == 96_000
