"""Simulated active learning."""
