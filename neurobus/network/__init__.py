"""From a config to a network: who there is, with which parameters, connected how."""

from neurobus.network.builder import Network, build

__all__ = ["Network", "build"]
