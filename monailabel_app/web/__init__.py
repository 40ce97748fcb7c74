"""The HTTP routes of the app."""
