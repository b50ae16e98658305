"""The store that processes share, and the network interface that it listens on."""

from __future__ import annotations

import socket
import struct
import sys
from collections.abc import Collection
from datetime import timedelta
from typing import Any

import torch.distributed

# Classes of the processes' connections, which have no types.
dist: Any = torch.distributed

LOOPBACK = "127.0.0.1"
# The request for the address of an interface, by the name of the platform.
_REQUESTS = {"linux": 0x8915, "darwin": 0xC0206921}
# The store is there before its address is told. A machine that stands still for some
# seconds uses up one attempt to connect. Later, it may be busy for longer.
_N_ATTEMPTS, _TO_CONNECT = 3, timedelta(seconds=2.5)
_TO_ANSWER = timedelta(seconds=60)


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


def check_reachable(what: str, hosts: Collection[str], *, on_loopback: bool) -> None:
    """Raise a ValueError if processes of several machines listen on the loopback.

    Parameters
    ----------
    what : str
        What the processes are called.
    hosts : collection of str
        Their machines, each of them once.
    on_loopback : bool
        Whether they listen on the loopback interface.
    """
    if len(hosts) > 1 and on_loopback:
        raise ValueError(
            f"The {what} are on {len(hosts)} machines, which do not reach each other "
            "by the loopback interface. Set interface of train_across to the name of "
            "the network interface that connects them, such as 'eth0'."
        )


def connect_to(host: str, port: int) -> Any:
    """Return a connection to the store that all processes share.

    Raises
    ------
    RuntimeError
        If the process that has the store is not there any more.
    """
    for left in reversed(range(_N_ATTEMPTS)):
        try:
            store = dist.TCPStore(
                host, port, None, False, timeout=_TO_CONNECT, wait_for_workers=False
            )
        except RuntimeError as error:
            if left:
                continue
            raise RuntimeError(
                f"Process 0, at {host}:{port}, cannot be reached: it died or left "
                "train_across. All processes must make the same calls of fit within it."
            ) from error
        store.set_timeout(_TO_ANSWER)
        break
    return store


def serve(address: str) -> Any:
    """Open a store that listens on one address, on any free port."""
    family = socket.AF_INET6 if ":" in address else socket.AF_INET
    listener = socket.socket(family)
    listener.bind((address, 0))
    listener.listen(1024)
    port = listener.getsockname()[1]
    return dist.TCPStore(
        address,
        port,
        None,
        True,
        wait_for_workers=False,
        master_listen_fd=listener.detach(),
        # The server by libuv of torch 2.6 takes no open socket.
        use_libuv=False,
    )
