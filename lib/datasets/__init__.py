"""Readers of published layouts, and the phantoms that demo and tests share."""
