"""A network switch in user space: every cable has a rate and a delay, and nothing is ever lost.

``python -m studies.scaling.switch NAME...`` makes a TUN interface of each name and prints ``ready``;
the interfaces may then be moved into network namespaces. The i-th interface is the i-th host, whose
IPv4 address ends in i + 1. Each line on stdin is answered by a line on stdout; the end of stdin ends it:

``shape DELAY_S BIT_PER_S``
    from now on a packet occupies its sender's cable for its length over the rate, and arrives the delay
    later;
``traffic``
    the bytes of payload and headers since the last such question, as JSON, from host (row) to host.

The kernel's own emulation (``tc netem``) is not part of every kernel, and its queues drop packets;
TUN interfaces are everywhere. Segments that the sender's kernel would cut to the MTU pass uncut.
"""

from __future__ import annotations

import fcntl
import json
import os
import select
import struct
import sys
import time
from contextlib import suppress
from heapq import heappop, heappush

__all__ = ["main"]

# From linux/if_tun.h and linux/virtio_net.h.
TUNSETIFF, TUNSETOFFLOAD = 0x400454CA, 0x400454D0
IFF_TUN, IFF_NO_PI, IFF_VNET_HDR = 0x0001, 0x1000, 0x4000
TUN_F_CSUM, TUN_F_TSO4 = 0x01, 0x02
VNET_HEADER = 10
IPV4_DESTINATION_END = VNET_HEADER + 19
PACKET_MAX = VNET_HEADER + (1 << 16)
BURST = 16
"""Packets taken from one host before those that are due go out."""


def main(names: list[str]) -> None:
    """Forward packets between interfaces of these names until stdin ends."""
    hosts = [_open_interface(name) for name in names]
    n, number_of = len(hosts), {host: number for number, host in enumerate(hosts)}
    with suppress(PermissionError):
        # Late packets would make the emulated network slower than it says.
        os.sched_setscheduler(0, os.SCHED_FIFO, os.sched_param(1))
    delay_s, s_per_byte = 0.0, 0.0
    free_s = [0.0] * n
    traffic = [[0] * n for _ in hosts]
    waiting: list[tuple[float, int, int, bytes]] = []
    number = 0
    _say("ready")
    while True:
        patience = max(0.0, waiting[0][0] - time.monotonic()) if waiting else None
        ready, _, _ = select.select([0, *hosts], [], [], patience)
        for host in ready:
            if host == 0:
                continue
            source = number_of[host]
            for _ in range(BURST):
                try:
                    packet = os.read(host, PACKET_MAX)
                except BlockingIOError:
                    break
                target = packet[IPV4_DESTINATION_END] - 1
                if packet[VNET_HEADER] >> 4 != 4 or not 0 <= target < n:
                    continue
                size = len(packet) - VNET_HEADER
                traffic[source][target] += size
                free_s[source] = max(time.monotonic(), free_s[source]) + size * s_per_byte
                number += 1
                heappush(waiting, (free_s[source] + delay_s, number, target, packet))
        while waiting and waiting[0][0] <= time.monotonic():
            _, _, target, packet = heappop(waiting)
            with suppress(OSError):  # the host is gone
                os.write(hosts[target], packet)
        if 0 in ready:
            match os.read(0, 1000).decode().split():
                case ["shape", delay, rate]:
                    delay_s, s_per_byte = float(delay), 8 / float(rate)
                    _say("ok")
                case ["traffic"]:
                    _say(json.dumps(traffic))
                    traffic = [[0] * n for _ in hosts]
                case _:
                    return


def _say(line: str) -> None:
    sys.stdout.write(line + "\n")
    sys.stdout.flush()


def _open_interface(name: str) -> int:
    host = os.open("/dev/net/tun", os.O_RDWR | os.O_NONBLOCK)
    flags = IFF_TUN | IFF_NO_PI | IFF_VNET_HDR
    fcntl.ioctl(host, TUNSETIFF, struct.pack("16sH22x", name.encode(), flags))
    fcntl.ioctl(host, TUNSETOFFLOAD, TUN_F_CSUM | TUN_F_TSO4)
    return host


if __name__ == "__main__":
    main(sys.argv[1:])
