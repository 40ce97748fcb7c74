"""An Orthanc server for the demo and the tests: DICOMweb and C-STORE, for this machine only.

Orthanc listens on all interfaces. With `RemoteAccessAllowed` off it refuses requests from other
machines, and by DICOM it takes images from a known sender at 127.0.0.1 only.
"""

from __future__ import annotations

import json
import shutil
import subprocess
from pathlib import Path

from lib.errors import InputError
from lib.processes import end, free_port, require_free, wait_until_answers

START_SECONDS = 120  # on a busy machine; on a quiet one it takes one
SENDER = "DEMO"  # the AE title of the only sender that is accepted
TITLE = "ORTHANC"
_PROGRAMS = ("Orthanc", "/usr/sbin/Orthanc", "/usr/local/sbin/Orthanc")
_PLUGINS = (
    "/usr/share/orthanc/plugins/libOrthancDicomWeb.so",
    "/usr/local/share/orthanc/plugins/libOrthancDicomWeb.so",
)


def missing() -> str:
    """Return what to install to start Orthanc; empty if nothing is missing."""
    lacking = []
    if _first(_PROGRAMS) is None:
        lacking.append("orthanc")
    if not any(Path(plugin).exists() for plugin in _PLUGINS):
        lacking.append("orthanc-dicomweb")
    if not lacking:
        return ""
    return (
        f"not installed: {' and '.join(lacking)}; on Debian and Ubuntu run `sudo apt-get install "
        f"orthanc orthanc-dicomweb`, elsewhere see https://www.orthanc-server.com/download.php"
    )


class Orthanc:
    """An Orthanc process with a folder of its own.

    Args:
        folder: for configuration, log and storage; made if it is missing, and kept.
        port: port of DICOMweb; 0 takes a free one.
        dicom_port: port of C-STORE; 0 takes a free one, None turns C-STORE off.
        users: passwords by user; without users it needs no login.
        sync: whether it waits for the disk after each object; tests need not.
    """

    def __init__(
        self,
        folder: Path,
        port: int = 0,
        dicom_port: int | None = None,
        users: dict[str, str] | None = None,
        sync: bool = True,
    ) -> None:
        self.folder = folder
        self.port = port or free_port()
        self.dicom_port = free_port() if dicom_port == 0 else dicom_port
        self.users = dict(users or {})
        self.sync = sync
        self.process: subprocess.Popen[bytes] | None = None

    @property
    def url(self) -> str:
        """Address of DICOMweb, which the MONAI Label server takes as its studies."""
        return f"http://127.0.0.1:{self.port}/dicom-web"

    @property
    def log_file(self) -> Path:
        """The log of the process."""
        return self.folder / "orthanc.log"

    def start(self) -> Orthanc:
        """Start it and wait until it answers.

        Raises:
            InputError: it is not installed, or does not start; the message says what to do.
        """
        if lacking := missing():
            raise InputError(lacking)
        for port in filter(None, (self.port, self.dicom_port)):
            require_free("0.0.0.0", port)
        self.folder.mkdir(parents=True, exist_ok=True)
        settings = self.folder / "orthanc.json"
        settings.write_text(json.dumps(self.settings(), indent=2))
        settings.chmod(0o600)  # it holds passwords
        program = _first(_PROGRAMS)
        assert program is not None
        with open(self.log_file, "ab") as log:
            self.process = subprocess.Popen(
                [program, str(settings)],
                stdout=log,
                stderr=subprocess.STDOUT,
                start_new_session=True,  # Ctrl-C is for this process, which then stops it
            )
        if wait_until_answers(self.process, f"http://127.0.0.1:{self.port}/system", START_SECONDS):
            return self
        if self.process.poll() is not None:
            last = self.log_file.read_text(errors="replace").strip().splitlines()[-1:]
            raise InputError(f"Orthanc ended at its start: {' '.join(last)}; see its log")
        self.stop()
        raise InputError(f"Orthanc did not answer within {START_SECONDS} s; see {self.log_file}")

    def stop(self) -> None:
        """End it."""
        if self.process is not None:
            end(self.process)

    def settings(self) -> dict[str, object]:
        """Return its configuration."""
        storage = str(self.folder / "storage")
        return {
            "Name": "demo",
            "StorageDirectory": storage,
            "IndexDirectory": storage,
            "Plugins": [plugin for plugin in _PLUGINS if Path(plugin).exists()][:1],
            "HttpPort": self.port,
            "RemoteAccessAllowed": False,
            "AuthenticationEnabled": bool(self.users),
            "RegisteredUsers": self.users,
            "DicomServerEnabled": self.dicom_port is not None,
            "DicomPort": self.dicom_port or 4242,
            "DicomAet": TITLE,
            "DicomCheckCalledAet": False,
            "DicomAlwaysAllowEcho": False,
            "DicomAlwaysAllowStore": False,
            "DicomCheckModalityHost": True,
            "DicomModalities": {
                "demo": {"AET": SENDER, "Host": "127.0.0.1", "Port": 1, "AllowStore": True}
            },
            # an object that is stored again replaces the stored one
            "OverwriteInstances": True,
            "SyncStorageArea": self.sync,
            "DicomWeb": {"Enable": True, "Root": "/dicom-web/", "EnableWado": False},
        }


def _first(programs: tuple[str, ...]) -> str | None:
    return next((found for name in programs if (found := shutil.which(name))), None)
