"""Breast density answers as DICOM Structured Reports, written and read."""
