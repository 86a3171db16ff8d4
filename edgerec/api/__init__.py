"""The recorder inside a program: start and stop it, react to its events, push audio.

Its public names are those of `edgerec`. In the order in which things happen: `recorder` (what you
call), `session.events` (what handlers receive), `held_file` and `audio_data` (the audio of an
event), `handlers` (those registered), `dispatcher` (calls them, off the audio path), `feeding`
(audio that you push).
"""

from edgerec.api.asynchronous import AsyncRecorder as AsyncRecorder
from edgerec.api.asynchronous import EventIterator as EventIterator
from edgerec.api.audio_data import AudioData as AudioData
from edgerec.api.audio_data import Gap as Gap
from edgerec.api.audio_data import TrackAudioData as TrackAudioData
from edgerec.api.audio_data import Turn as Turn
from edgerec.api.dispatcher import EventCounts as EventCounts
from edgerec.api.dispatcher import HandlerCounts as HandlerCounts
from edgerec.api.feeding import Pushed as Pushed
from edgerec.api.handlers import HandlerError as HandlerError
from edgerec.api.held_file import AudioGoneError as AudioGoneError
from edgerec.api.live_tap import Tap as Tap
from edgerec.api.live_tap import TapBlock as TapBlock
from edgerec.api.recorder import Recorder as Recorder
from edgerec.api.recorder import RecorderError as RecorderError
from edgerec.config import Config as Config
from edgerec.config import ConfigError as ConfigError
from edgerec.config import load_config as load_config
from edgerec.config import make_config as make_config
from edgerec.feeds.connection import FeedError as FeedError
from edgerec.service.control.socket import ControlSocketError as ControlSocketError
from edgerec.session.events import AudioLate as AudioLate
from edgerec.session.events import AudioRefused as AudioRefused
from edgerec.session.events import FilePublished as FilePublished
from edgerec.session.events import GapFound as GapFound
from edgerec.session.events import Played as Played
from edgerec.session.events import RecordingStarted as RecordingStarted
from edgerec.session.events import RecordingStopped as RecordingStopped
from edgerec.session.events import StateChanged as StateChanged
from edgerec.store.disk import StoreError as StoreError
