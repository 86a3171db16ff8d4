"""Cards, their ports and who records from them, as made-up /proc and /sys trees say."""

import pytest

from edgerec.capture.devices.alsa_cards import (
    AlsaCard,
    alsa_owner,
    alsa_streams,
    name_by_port,
    parse_alsa_cards,
    read_alsa_cards,
    unnumbered,
    usb_port,
)

PI_4 = "/sys/devices/platform/scb/fd500000.pcie/pci0000:00/0000:00:00.0/0000:01:00.0"
PI_5 = "/devices/platform/axi/1000120000.pcie/1f00300000.usb"


@pytest.mark.parametrize(
    ("path", "port"),
    [
        (f"{PI_4}/usb1/1-1/1-1.3/1-1.3:1.0", "usb-0000:01:00.0-1.3"),
        (f"{PI_4}/usb3/3-1/3-1.3/3-1.3:1.0/sound/card2", "usb-0000:01:00.0-1.3"),
        (f"{PI_5}/xhci-hcd.1/usb3/3-2/3-2:1.0/sound/card1", "usb-1f00300000.usb-2"),
        (f"{PI_5}/xhci-hcd.0/usb1/1-2/1-2:1.0", "usb-1f00300000.usb-2"),
        (f"{PI_5}/xhci-hcd.4.auto/usb1/1-2/1-2.1/1-2.1:1.0", "usb-1f00300000.usb-2.1"),
        ("/devices/platform/soc/3f980000.usb/usb1/1-1/1-1:1.0", "usb-3f980000.usb-1"),
        ("/devices/pci0000:00/0000:00:1b.0/sound/card0", None),
        ("/sys/devices/platform/snd_aloop.0", None),
        ("/sys/class/sound/card1/device", None),
        ("", None),
    ],
)
def test_a_port_has_the_same_name_whatever_number_its_bus_and_controller_have(path, port):
    assert usb_port(path) == port


USB = "usb-C-Media_USB_Audio_Device-00"


@pytest.mark.parametrize(
    ("name", "plain"),
    [
        (f"alsa_input.{USB}.mono-fallback.2", f"alsa_input.{USB}.mono-fallback"),
        (f"alsa_input.{USB}.12.mono-fallback", f"alsa_input.{USB}.mono-fallback"),
        (f"alsa_input.{USB}.2.pro-input-0.3", f"alsa_input.{USB}.pro-input-0"),
        (
            f"alsa_output.{USB}.2.analog-surround-40.monitor",
            f"alsa_output.{USB}.analog-surround-40.monitor",
        ),
        (
            f"alsa_output.{USB}.analog-stereo.2.monitor",
            f"alsa_output.{USB}.analog-stereo.monitor",
        ),
    ],
)
def test_a_source_loses_the_number_that_its_server_has_given_it(name, plain):
    assert unnumbered(name) == plain
    assert unnumbered(plain) == plain
    assert name_by_port(name, "usb-1f00300000.usb-2") == f"{plain}@usb-1f00300000.usb-2"
    assert name_by_port(name, None) is None


@pytest.mark.parametrize(
    "name",
    [
        "alsa_input.usb-SunplusIT_FHD_Camera_01.00.00-02.analog-stereo",
        "alsa_input.pci-0000_05_00.6.analog-stereo",
        "alsa_output.pci-0000_00_1b.0.analog-stereo.2.monitor",
        "kiosk_mic.2",
        "bluez_input.00_11_22_33_44_55.0",
    ],
)
def test_other_numbers_belong_to_the_name(name):
    assert unnumbered(name) == name


CARDS = """\
 0 [Headphones     ]: bcm2835_headpho - bcm2835 Headphones
                      bcm2835 Headphones
 1 [Mic            ]: USB-Audio - USB PnP Sound Device
                      C-Media Electronics Inc. USB PnP Sound Device at usb-0000:01:00.0-1.3, full s
 2 [Spk            ]: Loopback - Loopback
                      Loopback 1
"""


def text_of(*cards):
    """Return /proc/asound/cards; a card is its id, its name, and perhaps its driver."""
    return "".join(
        f"{number:2} [{id_:15}]: {''.join(driver) or 'USB-Audio'} - {name}\n"
        f"                      {name} at usb-0000:01:00.0-1.{number}, full speed\n"
        for number, (id_, name, *driver) in enumerate(cards)
    )


def test_alsa_cards_are_known_by_their_ids_drivers_and_names():
    assert parse_alsa_cards(CARDS) == {
        0: AlsaCard("Headphones", "bcm2835_headpho", "bcm2835 Headphones"),
        1: AlsaCard("Mic", "USB-Audio", "USB PnP Sound Device"),
        2: AlsaCard("Spk", "Loopback", "Loopback"),
    }


def test_no_card_is_what_a_machine_without_cards_says(tmp_path):
    assert parse_alsa_cards("--- no soundcards ---\n") == {}
    assert read_alsa_cards(tmp_path / "cards") == {}


@pytest.mark.parametrize(
    ("cards", "by_order"),
    [
        ([("Device", "USB Audio Device"), ("Device_1", "USB Audio Device")], [True, True]),
        # The kernel numbers what would have one id, whatever the model.
        ([("Device", "USB PnP Sound Device"), ("Device_1", "USB Audio Device")], [True, True]),
        ([("Device", "USB Audio Device"), ("Mic", "USB Mic")], [False, False]),
        # The first one has gone.
        ([("Device_1", "USB Audio Device")], [True]),
        ([("Device_A", "USB Audio Device"), ("Device_1F", "USB Audio Device")], [True, True]),
        ([("Microphone12345", "Microphone12345x"), ("Microphone123_1", "Microphone12345x")],
         [True, True]),
        # Ids that a udev rule has set.
        ([("mic_1", "USB Audio Device"), ("mic_2", "USB Audio Device")], [False, False]),
        ([("Loopback", "Loopback", "Loopback"), ("Loopback_1", "Loopback", "Loopback")],
         [False, False]),
    ],
)  # fmt: skip
def test_an_id_that_the_kernel_has_numbered_goes_by_the_order_of_detection(cards, by_order):
    assert [card.by_order for card in parse_alsa_cards(text_of(*cards)).values()] == by_order


TWINS = text_of(("Device", "USB Audio Device"), ("Device_1", "USB Audio Device"))


@pytest.fixture
def machine(tmp_path):
    """Make the trees of a machine with twins on these ports, in their order of detection."""
    proc, links = tmp_path / "proc", tmp_path / "class"
    proc.mkdir()
    links.mkdir()
    (proc / "cards").write_text(TWINS)

    def make(*ports):
        bus = tmp_path / "devices" / "0000:01:00.0" / "usb1" / "1-1"
        for number, port in enumerate(ports):
            card = bus / f"1-{port}" / f"1-{port}:1.0" / "sound" / f"card{number}"
            card.mkdir(parents=True)
            (card / "device").symlink_to(card.parent.parent)
            (links / f"card{number}").symlink_to(card)
        return proc, links

    return make


def test_a_card_is_where_its_link_leads(machine):
    proc, links = machine("1.4", "1.3")
    cards = read_alsa_cards(proc / "cards", links)
    assert [(card.id, card.port) for card in cards.values()] == [
        ("Device", "usb-0000:01:00.0-1.4"),
        ("Device_1", "usb-0000:01:00.0-1.3"),
    ]


def test_without_links_no_port_is_known(machine):
    proc, links = machine()
    assert [card.port for card in read_alsa_cards(proc / "cards", links).values()] == [None, None]


def record(folder, pid):
    """Have a process record from a card."""
    folder.mkdir(parents=True)
    (folder / "status").write_text(f"state: RUNNING\nowner_pid   : {pid}\ntrigger_time: 7.1\n")


def test_who_records_from_a_card_is_known_by_its_id_and_by_its_port(machine):
    proc, links = machine("1.4", "1.3")
    for card, pid in (("Device", 811), ("Device_1", 812)):
        record(proc / card / "pcm0c" / "sub0", pid)
    for wanted in ("alsa:Device_1,0", "alsa:usb-0000:01:00.0-1.3,0"):
        assert alsa_owner(wanted, proc, links) == 812
        assert list(alsa_streams(wanted, proc, links)) == [812]
    assert alsa_owner("alsa:usb-0000:01:00.0-1.4,0", proc, links) == 811
    for other in ("alsa:usb-0000:01:00.0-1.2,0", "alsa:usb-0000:01:00.0-1.3,1", "pulse:Device"):
        assert alsa_owner(other, proc, links) is None


def test_nobody_records_from_a_card_that_is_closed_or_another_one(tmp_path):
    status = tmp_path / "Mic" / "pcm1c" / "sub0" / "status"
    status.parent.mkdir(parents=True)
    status.write_text("closed\n")
    assert alsa_owner("alsa:Mic,1", tmp_path) is None
    status.write_text("state: RUNNING\nowner_pid   : 812\ntrigger_time: 7.1\n")
    assert alsa_owner("alsa:Mic,1", tmp_path) == 812
    for other in ("alsa:Mic,0", "alsa:Spk,1", "pulse:Mic", "Mic,1", "alsa:Mic,1,0"):
        assert alsa_owner(other, tmp_path) is None
