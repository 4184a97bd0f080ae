"""The containers' network: a free subnet, and no traffic between containers."""

from __future__ import annotations

import ipaddress
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from setup_host import network
from setup_host.errors import SetupError

Net = ipaddress.IPv4Network

ROUTES = """Iface\tDestination\tGateway \tFlags\tRefCnt\tUse\tMetric\tMask\t\tMTU\tWindow\tIRTT
eth0\t00000000\t0102000A\t0003\t0\t0\t0\t00000000\t0\t0\t0
eth0\t0002000A\t00000000\t0001\t0\t0\t0\t00FFFFFF\t0\t0\t0
docker0\t000011AC\t00000000\t0001\t0\t0\t0\t0000FFFF\t0\t0\t0
"""


def a_network(**changes: Any) -> dict[str, Any]:
    return {
        "Name": "gpucamp",
        "Driver": "bridge",
        "Options": {network.ICC: "false"},
        "IPAM": {"Config": [{"Subnet": "172.20.0.0/20", "Gateway": "172.20.0.1"}]},
        **changes,
    }


def test_the_hosts_routes_are_read_without_the_default_one() -> None:
    assert network.host_routes(ROUTES) == [Net("10.0.2.0/24"), Net("172.17.0.0/16")]


def test_subnets_of_networks_skip_ipv6_and_networks_without_any() -> None:
    six = a_network(IPAM={"Config": [{"Subnet": "fd00::/64"}, {"Subnet": "10.9.0.0/16"}]})
    none: list[dict[str, Any]] = [a_network(IPAM={"Config": None}), a_network(IPAM=None)]
    assert network.subnets_of([six, *none]) == [Net("10.9.0.0/16")]


@given(st.lists(st.sampled_from(list(network.candidates())), max_size=30), st.data())
def test_the_choice_overlaps_nothing_taken(taken: list[Net], data: st.DataObject) -> None:
    # whatever larger or smaller network there is around them
    taken = [
        net.supernet(new_prefix=data.draw(st.integers(14, 20))) if data.draw(st.booleans()) else net
        for net in taken
    ]
    chosen = network.choose(taken)
    assert not any(chosen.overlaps(other) for other in taken)
    assert chosen.is_private and chosen.num_addresses >= 4096


def test_a_full_address_space_says_how_to_name_one() -> None:
    with pytest.raises(SetupError, match="GPUCAMP_SUBNET"):
        network.choose([Net("0.0.0.0/0")])


def test_a_network_that_fits_gives_its_gateway() -> None:
    assert network.gateway_of(a_network()) == "172.20.0.1"


@pytest.mark.parametrize(
    ("changes", "says"),
    [
        ({"Options": {}}, "containers may talk to each other"),
        ({"Options": None}, "containers may talk to each other"),
        ({"Options": {network.ICC: "true"}}, "containers may talk to each other"),
        ({"Driver": "overlay"}, "no bridge network"),
        ({"IPAM": {"Config": [{"Subnet": "fd00::/64", "Gateway": "fd00::1"}]}}, "no IPv4 gateway"),
    ],
)
def test_a_network_of_that_name_that_does_not_fit_is_refused(
    changes: dict[str, Any], says: str
) -> None:
    with pytest.raises(SetupError, match=says) as refused:
        network.gateway_of(a_network(**changes))
    assert "GPUCAMP_NETWORK" in refused.value.remedy
