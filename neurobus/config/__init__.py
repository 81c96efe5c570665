"""Configs: TOML to checked structs, every mistake with its line."""

from neurobus.config.load import Config, load, loads
from neurobus.config.schema import schema

__all__ = ["Config", "load", "loads", "schema"]
