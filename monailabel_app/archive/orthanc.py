"""An Orthanc of one's own, for the demo and the tests: DICOMweb and C-STORE, for this machine only.

Orthanc listens on all interfaces; with `RemoteAccessAllowed` off it refuses whoever is not on this
machine, and by DICOM it takes images from known senders at 127.0.0.1 alone.
"""

from __future__ import annotations

import json
import shutil
import socket
import subprocess
import time
from pathlib import Path
from urllib.error import HTTPError, URLError
from urllib.request import urlopen

from lib.errors import InputError

START_SECONDS = 30
SENDER = "DEMO"  # the AE title that images are taken from
TITLE = "ORTHANC"
_PROGRAMS = ("Orthanc", "/usr/sbin/Orthanc", "/usr/local/sbin/Orthanc")
_PLUGINS = (
    "/usr/share/orthanc/plugins/libOrthancDicomWeb.so",
    "/usr/local/share/orthanc/plugins/libOrthancDicomWeb.so",
)


def missing() -> str:
    """Return what to install before Orthanc can be started; empty where nothing is missing."""
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
    """An Orthanc process over a folder of its own.

    Args:
        folder: of its configuration, its log and its storage; made where it is missing, and kept.
        port: of DICOMweb; 0 takes a free one.
        dicom_port: of C-STORE; 0 takes a free one, None offers none.
        users: passwords by user; without any, no password is asked for.
        sync: whether it waits for the disk with each object; tests need not.
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
        self.port = port or _free_port()
        self.dicom_port = _free_port() if dicom_port == 0 else dicom_port
        self.users = dict(users or {})
        self.sync = sync
        self.process: subprocess.Popen[bytes] | None = None

    @property
    def url(self) -> str:
        """Address of DICOMweb, which the server takes as its studies."""
        return f"http://127.0.0.1:{self.port}/dicom-web"

    @property
    def log_file(self) -> Path:
        """What it writes meanwhile."""
        return self.folder / "orthanc.log"

    def start(self) -> Orthanc:
        """Start it and wait until it answers.

        Raises:
            InputError: it is not installed, or does not start; the message says what to do.
        """
        if lacking := missing():
            raise InputError(lacking)
        for port in filter(None, (self.port, self.dicom_port)):
            _require_free(port)
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
                start_new_session=True,  # Ctrl-C is for whoever started it, who then stops it
            )
        deadline = time.monotonic() + START_SECONDS
        while time.monotonic() < deadline:
            if self.process.poll() is not None:
                last = self.log_file.read_text(errors="replace").strip().splitlines()[-1:]
                raise InputError(f"Orthanc ended at its start: {' '.join(last)}; see its log")
            if self._answers():
                return self
            time.sleep(0.05)
        self.stop()
        raise InputError(f"Orthanc did not answer within {START_SECONDS} s; see {self.log_file}")

    def stop(self) -> None:
        """End it, by its process alone."""
        if self.process is not None and self.process.poll() is None:
            self.process.terminate()
            try:
                self.process.wait(10)
            except subprocess.TimeoutExpired:
                self.process.kill()
                self.process.wait()

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
            # an upload by STOW of a stored object again replaces it
            "OverwriteInstances": True,
            "SyncStorageArea": self.sync,
            "DicomWeb": {"Enable": True, "Root": "/dicom-web/", "EnableWado": False},
        }

    def _answers(self) -> bool:
        try:
            with urlopen(f"http://127.0.0.1:{self.port}/system", timeout=2):
                return True
        except HTTPError as error:
            return error.code == 401  # it asks for its password
        except (URLError, OSError):
            return False


def _first(programs: tuple[str, ...]) -> str | None:
    return next((found for name in programs if (found := shutil.which(name))), None)


def _require_free(port: int) -> None:
    """Refuse a port that is taken: whoever holds it would answer in Orthanc's place."""
    with socket.socket() as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind(("0.0.0.0", port))
        except OSError as error:
            raise InputError(
                f"port {port} cannot be used for the archive ({error.strerror}); choose another"
            ) from None


def _free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])
