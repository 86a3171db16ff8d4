"""The configuration: one YAML file as frozen, validated values.

`load_config` is all that most callers need. In the order in which a file passes through:
`document` (bytes to plain YAML values), `load` (values to the types of `schema`), `checks`
(settings that don't go together).
"""

from edgerec.config.checks import absences, shared_root
from edgerec.config.load import (
    DEFAULT_FILE,
    FILE_VARIABLE,
    default_file,
    file_to_record_by,
    load_config,
    make_config,
)
from edgerec.config.problems import ConfigError, Problem
from edgerec.config.schema import (
    Config,
    ControlConfig,
    DetectorConfig,
    HooksConfig,
    MetricsConfig,
    RecordingConfig,
    RetentionConfig,
    SimulateConfig,
    StorageConfig,
    TrackConfig,
    TracksConfig,
    TurnsConfig,
)

__all__ = [
    "DEFAULT_FILE",
    "FILE_VARIABLE",
    "Config",
    "ConfigError",
    "ControlConfig",
    "DetectorConfig",
    "HooksConfig",
    "MetricsConfig",
    "Problem",
    "RecordingConfig",
    "RetentionConfig",
    "SimulateConfig",
    "StorageConfig",
    "TrackConfig",
    "TracksConfig",
    "TurnsConfig",
    "absences",
    "default_file",
    "file_to_record_by",
    "load_config",
    "make_config",
    "shared_root",
]
