"""Stands in for numpymaxflow, whose wheels are compiled for NumPy below 2.

MONAI Label imports it in `monailabel.scribbles` alone, which this app does not use. See
docs/decisions/0024-current-libraries.md of the app.
"""


def __getattr__(name: str) -> object:
    raise AttributeError(
        f"numpymaxflow.{name}: this is a stand-in without functions, installed with unetvnet; the "
        f"app has scribbles of its own. For numpymaxflow use an environment of its own"
    )
