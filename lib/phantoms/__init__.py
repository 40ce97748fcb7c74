"""Seeded synthetic images for demos and tests."""
