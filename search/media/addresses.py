"""Which IP addresses may be fetched from: those of the public internet, and those of a setting."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from ipaddress import (
    IPv4Address,
    IPv4Network,
    IPv6Address,
    IPv6Network,
    ip_network,
)
from typing import TypeAlias

Address: TypeAlias = IPv4Address | IPv6Address
Network: TypeAlias = IPv4Network | IPv6Network

UNICAST = IPv6Network("2000::/3")
NAT64 = IPv6Network("64:ff9b::/96")
RESERVED: tuple[Network, ...] = (
    *map(
        IPv4Network,
        (
            "0.0.0.0/8",
            "10.0.0.0/8",
            "100.64.0.0/10",
            "127.0.0.0/8",
            "168.63.129.16/32",  # services of a cloud, for its own machines
            "169.254.0.0/16",
            "172.16.0.0/12",
            "192.0.0.0/24",
            "192.0.2.0/24",
            "192.31.196.0/24",
            "192.52.193.0/24",
            "192.88.99.0/24",
            "192.168.0.0/16",
            "192.175.48.0/24",
            "198.18.0.0/15",
            "198.51.100.0/24",
            "203.0.113.0/24",
            "224.0.0.0/3",
        ),
    ),
    *map(
        IPv6Network,
        ("2001::/23", "2001:db8::/32", "2620:4f:8000::/48", "3fff::/20"),
    ),
)
"""The registries of special-purpose addresses (RFC 6890 and what came after it), as of 2025.

`ipaddress` knows those that its version of Python was made with.
"""


def is_public(address: Address) -> bool:
    """Whether an address is of the public internet; one that carries another is as that one."""
    address = _unwrap(address)
    if isinstance(address, IPv6Address) and address not in UNICAST:
        return False
    return address.is_global and not any(
        address.version == network.version and address in network for network in RESERVED
    )


def _unwrap(address: Address) -> Address:
    """Return the IPv4 address that an IPv6 address carries, or the address itself."""
    if isinstance(address, IPv6Address):
        if address in NAT64:
            return IPv4Address(int(address) & 0xFFFFFFFF)
        return address.ipv4_mapped or address.sixtofour or address
    return address


@dataclass(frozen=True)
class AllowedHosts:
    """Hosts that may be fetched from although they are not on the public internet.

    names: in lower case. networks: of addresses.
    """

    names: frozenset[str] = frozenset()
    networks: tuple[Network, ...] = ()

    @classmethod
    def parse(cls, entries: Iterable[str]) -> AllowedHosts:
        """Parse names, addresses and networks. Raises ValueError for a wrong network."""
        names, networks = set[str](), list[Network]()
        for entry in entries:
            try:
                networks.append(ip_network(entry.strip("[]"), strict=False))
            except ValueError:
                if "/" in entry:
                    raise
                names.add(entry.lower().rstrip("."))
        return cls(frozenset(names), tuple(networks))

    def allow(self, host: str, address: Address) -> bool:
        """Whether a host's address is allowed. host: as the URL has it."""
        inner = _unwrap(address)
        return host.lower().rstrip(".") in self.names or any(
            inner.version == network.version and inner in network for network in self.networks
        )
