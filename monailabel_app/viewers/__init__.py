"""OHIF with this app's mode, panel and patches."""
