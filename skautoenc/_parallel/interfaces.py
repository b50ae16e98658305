"""Addresses of network interfaces."""

from __future__ import annotations

import socket
import struct
import sys

LOOPBACK = "127.0.0.1"
# The request for the address of an interface, by the name of the platform.
_REQUESTS = {"linux": 0x8915, "darwin": 0xC0206921}


def address_of(interface: str | None) -> str:
    """Return the IPv4 address of a network interface.

    Parameters
    ----------
    interface : str or None
        Name of the interface; None for the loopback interface.

    Raises
    ------
    ValueError
        If there is no such interface, or if it has no address.
    """
    if interface is None:
        return LOOPBACK
    try:
        import fcntl

        with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as any_socket:
            packed = fcntl.ioctl(
                any_socket.fileno(),
                _REQUESTS[sys.platform],
                struct.pack("256s", interface.encode()[:15]),
            )
    except (ImportError, KeyError, OSError) as error:
        names = [name for _, name in socket.if_nameindex()]
        raise ValueError(
            f"interface={interface!r} has no address on {socket.gethostname()}. Choose "
            f"one of {names}, or None for processes of one machine."
        ) from error
    return socket.inet_ntoa(packed[20:24])
