"""A hook that does what a file says: well, or in each of the ways in which programs misbehave."""

import os
import signal
import sys
import time
from pathlib import Path

mode = Path(sys.argv[1]).read_text()
if mode == "hang":
    signal.signal(signal.SIGTERM, signal.SIG_IGN)
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    while Path(sys.argv[1]).read_text() == mode:  # until it is over, whoever asks
        time.sleep(0.2)
elif mode == "print":
    while True:
        os.write(1, b"x" * 65_536 + b"\n")
elif mode == "fork":
    for _ in range(20):
        if os.fork() == 0:
            os.setsid()
            signal.signal(signal.SIGTERM, signal.SIG_IGN)
            time.sleep(600)
elif mode == "fail":
    sys.exit("it does not work")
