"""Processes that are killed at work, and what must be true of their folders afterwards."""
