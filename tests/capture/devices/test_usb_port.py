"""USB ports are named by what stays, and sources without what does not."""

import pytest

from edgerec.capture.devices.usb_port import name_by_port, unnumbered, usb_port

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
