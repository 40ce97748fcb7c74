"""Breast density as DICOM structured reports."""
