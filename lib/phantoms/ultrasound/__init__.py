"""Synthetic ultrasound frames, loops and volumes."""
