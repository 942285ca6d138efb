"""The build says one thing everywhere: versions agree, verbs are explained, CI is `make ci`."""

from __future__ import annotations

import json
import re
import subprocess
import sys
import tomllib
from pathlib import Path

from tests.house.repository import ROOT, text_of

PROJECT = tomllib.loads(text_of(ROOT / "pyproject.toml"))
WORKSPACE = tomllib.loads(text_of(ROOT / "Cargo.toml"))


def make(*words: str) -> subprocess.CompletedProcess[str]:
    """Run make on the project's Makefile."""
    command = ["make", "-C", str(ROOT), "--no-print-directory", *words]
    return subprocess.run(command, capture_output=True, text=True)


def test_the_version_is_the_same_everywhere() -> None:
    """pyproject.toml, Cargo.toml and the newest heading of CHANGELOG.md."""
    version = PROJECT["project"]["version"]
    assert WORKSPACE["workspace"]["package"]["version"] == version
    newest = re.search(r"^## (\S+)", text_of(ROOT / "CHANGELOG.md"), re.MULTILINE)
    assert newest
    assert newest.group(1) == version


def test_only_numpy_is_needed_to_run() -> None:
    """Everything else is an extra."""
    assert [re.split(r"[<>=]", need)[0] for need in PROJECT["project"]["dependencies"]] == ["numpy"]


def test_every_verb_that_the_project_promises_has_a_help_text() -> None:
    """Method: run ``make help`` and read it."""
    told = make("help")
    verbs = dict(re.findall(r"^ *make ([\w-]+) +(\S.*)$", told.stdout, re.MULTILINE))
    assert {"help", "demo", "test", "lint", "bench", "docs", "wheel", "ci", "clean"} <= verbs.keys()


def test_a_missing_python_is_one_sentence() -> None:
    """A person without the right Python is told so, and what to do, before anything is created."""
    told = make("tools", "PYTHON=no-such-python")
    assert told.returncode != 0
    assert "pagemig needs Python 3.11 or newer, and there is no no-such-python here" in told.stderr


def check_tools(path: Path) -> subprocess.CompletedProcess[str]:
    """What the tool check says on a machine whose only programs are in one folder."""
    command = [sys.executable, str(ROOT / ".ci" / "check_tools.py")]
    return subprocess.run(command, capture_output=True, text=True, env={"PATH": str(path)})


def test_a_missing_or_old_compiler_is_one_sentence(tmp_path: Path) -> None:
    """No cargo; then a cargo from 2018."""
    missing = check_tools(tmp_path)
    assert missing.returncode == 1
    assert re.fullmatch(r"pagemig needs cargo 1\.\d+ or newer, and there is none here: .*\n", missing.stderr)
    old = tmp_path / "cargo"
    old.write_text("#!/bin/sh\necho 'cargo 1.31.0 (339d9f9c8 2018-11-16)'\n")
    old.chmod(0o755)
    outdated = check_tools(tmp_path)
    assert outdated.returncode == 1
    assert re.fullmatch(
        r"pagemig needs cargo 1\.\d+ or newer, and this one is 1\.31\.0: .*\n", outdated.stderr
    )


def test_ci_runs_what_a_person_runs() -> None:
    """``.ci/run`` is ``make ci``, and that contains lint and exactly ``make test``."""
    assert "exec make ci\n" in text_of(ROOT / ".ci" / "run")
    goals = re.search(r"^ci: ([\w -]+?) *##", text_of(ROOT / "Makefile"), re.MULTILINE)
    assert goals
    assert {"lint", "test", "smoke"} <= set(goals.group(1).split())


def test_every_requirement_is_pinned() -> None:
    """A clean clone builds tomorrow what it builds today."""
    for path in sorted((ROOT / "requirements").glob("*.txt")):
        for line in text_of(path).splitlines():
            assert re.match(r"[\w.-]+==[\w.]+( ;.*)?$", line), f"{path.name}: {line}"


def test_asv_builds_a_wheel_in_a_virtualenv() -> None:
    """One wheel a commit, with the interpreter that the environment names."""
    conf = json.loads(text_of(ROOT / "asv.conf.json"))
    assert conf["environment_type"] == "virtualenv"
    assert any("maturin" in command for command in conf["build_command"])
    assert (ROOT / conf["benchmark_dir"] / "__init__.py").is_file()
