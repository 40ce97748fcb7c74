"""Checkpoints, the versions of published weights, and networks in use."""
