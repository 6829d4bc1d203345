"""Write the lock files in packaging/requirements from pyproject.toml (`make lock`).

One file for each purpose, so that a machine installs no more than it needs. Every file after the
first is resolved under the ones before it, so that two files never name two versions of one package.
Versions already locked stay, unless they left their range or ``--upgrade`` is given.

A lock holds neither index addresses nor paths: where packages come from is the machine's business
(pip's own configuration), and the hashes say whether they are the right ones.
"""

from __future__ import annotations

import subprocess
import sys
import tempfile
import tomllib
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
LOCKS = ROOT / "packaging" / "requirements"
HEADER = """\
# {title}
# Written by `make lock` from pyproject.toml for Python 3.11 on Linux. Do not edit.
"""
TITLES = {
    "runtime": "What the daemon runs on.",
    "build": "What builds the package, and those dependencies that come as source only.",
    "signing": "What verifies signatures of models (the extra `signing`), on top of the runtime.",
    "load": "What runs bench/locustfile.py (the extra `load`), in an environment of its own.",
    "test": "What the tests need on top.",
    "lint": "What `make check` needs on top.",
    "lock": "What `make lock` needs, in an environment of its own.",
    "package": "What `make deb` and `make dist` need besides build.txt, in an environment of its own.",
    "peers": "What bench/ measures beside us, in an environment of its own.",
    "llama-cpp-python": "An engine of bad manners for the tests, in an environment of its own.",
}
UNDER = {
    "build": (),
    "runtime": ("build",),
    "signing": ("build", "runtime"),
    "test": ("build", "runtime", "signing"),
    "lint": ("build", "runtime", "signing", "test"),
    "load": ("build", "runtime", "signing", "test"),
    "package": ("build",),
}


def wanted(project: dict[str, object]) -> dict[str, list[str]]:
    """Return the direct requirements of each lock file, from the parsed pyproject.toml."""
    groups = project["dependency-groups"]
    build = project["build-system"]
    main = project["project"]
    if not (isinstance(groups, dict) and isinstance(build, dict) and isinstance(main, dict)):
        raise TypeError("pyproject.toml: [project], [build-system] and [dependency-groups] must be tables")
    return {
        "build": [*build["requires"], *groups["build"]],
        "runtime": main["dependencies"],
        "signing": main["optional-dependencies"]["signing"],
        "test": groups["test"],
        "load": main["optional-dependencies"]["load"],
        "lint": groups["lint"],
        "lock": groups["lock"],
        "package": groups["package"],
        "peers": groups["peers"],
        "llama-cpp-python": groups["llama-cpp-python"],
    }


def compiled(name: str, requirements: list[str], flags: list[str]) -> str:
    """Resolve ``requirements`` with pip-compile and return the lock's text."""
    target = LOCKS / f"{name}.txt"
    with tempfile.TemporaryDirectory() as folder:
        source = Path(folder) / f"{name}.in"
        source.write_text("".join(f"{line}\n" for line in requirements))
        output = Path(folder) / f"{name}.txt"
        if target.exists():
            output.write_text(target.read_text())
        command = [sys.executable, "-m", "piptools", "compile", "--quiet", "--generate-hashes", "--no-header"]
        command += ["--strip-extras", "--allow-unsafe", "--no-emit-index-url", "--no-emit-trusted-host"]
        command += ["--no-emit-find-links", "--annotation-style=line", f"--output-file={output.name}"]
        for under in UNDER.get(name, ()):
            (Path(folder) / f"{under}.txt").write_text((LOCKS / f"{under}.txt").read_text())
            command.append(f"--constraint={under}.txt")
        subprocess.run([*command, *flags, source.name], cwd=folder, check=True)  # noqa: S603 -- our own words
        text = output.read_text()
    lines = text.replace(f"-r {name}.in", "pyproject.toml").splitlines(keepends=True)
    # With its blank line and remark pip-compile warns of setuptools and pip, which are wanted here.
    return HEADER.format(title=TITLES[name]) + "".join(
        x for x in lines if x.strip() and not x.startswith("#")
    )


def main() -> None:
    """Write every lock file; arguments go on to pip-compile."""
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())
    for name, requirements in wanted(project).items():
        (LOCKS / f"{name}.txt").write_text(compiled(name, requirements, sys.argv[1:]))


if __name__ == "__main__":
    main()
