"""Networks, built from specs."""

from lib.networks.build import build_network

__all__ = ["build_network"]
