"""Whether an identifier names a patient, or stands for anybody."""

from __future__ import annotations

_NOBODY = {"", "anon", "anonymous", "anonymized", "anonymised", "removed", "none", "unknown", "0"}


def is_nobody(patient: str) -> bool:
    """Tell whether a PatientID is one of those that de-identification leaves behind."""
    return patient.strip().lower() in _NOBODY
