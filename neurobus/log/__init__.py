"""Logs: write, read, recover, replay, compare, export, draw."""

from neurobus.log.format import Entry, Header, Log, LogError, LogFull, Potentials
from neurobus.log.reader import read
from neurobus.log.recover import recover
from neurobus.log.writer import LogWriter

__all__ = ["Entry", "Header", "Log", "LogError", "LogFull", "LogWriter", "Potentials", "read", "recover"]
