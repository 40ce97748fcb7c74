"""Networks, built from specs."""

from lib.networks.build import build_network, place_network

__all__ = ["build_network", "place_network"]
