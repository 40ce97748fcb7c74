"""Mammograms, exams of four views, and density reports."""
