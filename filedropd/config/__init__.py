"""filedropd.toml, environment and options -> one frozen :class:`Config`; reports every fault at once.

:mod:`~filedropd.config.settings` is the catalogue, from which the rest derives.
"""

from filedropd.config.endpoints import parse_endpoint
from filedropd.config.loading import Config, ConfigError, load
from filedropd.config.options import Options
from filedropd.config.parse import FileURL, MemoryURL, Network, PostgresURL, SQLiteURL, parse_duration, parse_size
from filedropd.config.settings import GROUPS, SETTINGS, Setting
from filedropd.config.sources import Fault

__all__ = [
    "GROUPS",
    "SETTINGS",
    "Config",
    "ConfigError",
    "Fault",
    "FileURL",
    "MemoryURL",
    "Network",
    "Options",
    "PostgresURL",
    "SQLiteURL",
    "Setting",
    "load",
    "parse_duration",
    "parse_endpoint",
    "parse_size",
]
