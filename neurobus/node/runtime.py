"""A neuron's process by either clock."""

from __future__ import annotations

from neurobus.node.interface import AnyCore
from neurobus.node.process import Process
from neurobus.node.role import Role
from neurobus.node.virtual import VirtualProcess
from neurobus.node.wall import WallProcess


def process_of(role: Role, core: AnyCore) -> Process:
    """The process that lives by the role's clock."""
    return WallProcess(role, core) if role.wall else VirtualProcess(role, core)
