"""Measure the processor time of commands that only list or help, against ``python -c "import click"``.

    python benchmarks/command_line.py [--rounds 15] [--plugins 200]

Each command runs in turns with the others: as segplug is installed here, and with made-up plugins installed
in addition, each a distribution of its own with a backend and a manifest. Every command runs once before,
so that bytecode and the cache of entry points are there. The numbers are medians of user and system time.
"""

from __future__ import annotations

import argparse
import os
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from measure import PYTHON, Usage, median_of, run, show

from segplug.installed import Facts
from segplug.registry.manifest import MANIFEST, Manifest, manifest_text
from segplug.versions import HOOK_VERSIONS

SEGPLUG = str(Path(PYTHON).with_name("segplug"))
BASE = (PYTHON, "-c", "import click")
COMMANDS = {
    "segplug --help": ("--help",),
    "segplug export --help": ("export", "--help"),
    "segplug plugins list": ("plugins", "list"),
}
LIMITS = {"segplug --help": 2.0, "segplug export --help": 2.5, "segplug plugins list": 3.5}


def main() -> None:
    """Measure all commands without and with further plugins, and print the ratios."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--rounds", type=int, default=15, help="runs of each command")
    parser.add_argument("--plugins", type=int, default=200, help="plugins that are installed in addition")
    arguments = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        site = Path(folder) / "site"
        install_plugins(site, arguments.plugins)
        os.environ["XDG_CACHE_HOME"] = str(Path(folder) / "cache")
        base, plain, more = measure(site, arguments.rounds)
    limit = median_of(base, "cpu")
    rows = []
    for name in COMMANDS:
        alone, many = median_of(plain[name], "cpu"), median_of(more[name], "cpu")
        rows.append(
            (name, f"{alone:.3f}", f"{alone / limit:.2f}", f"{LIMITS[name]:g}", f"{many / alone:.2f}", "1.3")
        )
    columns = ("command", "CPU s", "ratio", "at most", f"with {arguments.plugins} more plugins", "at most")
    show(f'ratio to `python -c "import click"`, {limit:.3f} s', columns, rows)


Runs = dict[str, list[Usage]]


def measure(site: Path, rounds: int) -> tuple[list[Usage], Runs, Runs]:
    """Run every command in turns: the base, the commands as installed, the commands with more plugins."""
    base: list[Usage] = []
    plain: Runs = {name: [] for name in COMMANDS}
    more: Runs = {name: [] for name in COMMANDS}
    for round in range(rounds + 1):
        measured = [(base, run(BASE))]
        for name, arguments in COMMANDS.items():
            command = (SEGPLUG, *arguments)
            measured.append((plain[name], run(command)))
            with on_path(site):
                measured.append((more[name], run(command)))
        if round > 0:  # the first one writes bytecode and the cache of entry points
            for runs, usage in measured:
                runs.append(usage)
    return base, plain, more


@contextmanager
def on_path(site: Path) -> Iterator[None]:
    """Let processes find what is installed in ``site``."""
    before = os.environ.get("PYTHONPATH")
    os.environ["PYTHONPATH"] = str(site) if before is None else f"{site}{os.pathsep}{before}"
    try:
        yield
    finally:
        if before is None:
            del os.environ["PYTHONPATH"]
        else:
            os.environ["PYTHONPATH"] = before


def install_plugins(site: Path, count: int) -> None:
    """Write distributions as pip would install them: a package with its manifest, and its metadata."""
    for number in range(count):
        name = f"acme{number:03}"
        package, info = site / f"segplug_{name}", site / f"segplug_{name}-1.0.dist-info"
        package.mkdir(parents=True)
        info.mkdir()
        package.joinpath("__init__.py").touch()
        package.joinpath("engine.py").write_text("raise SystemExit('a listing imports nothing')\n")
        facts = Facts(
            kind="Backend",
            versions={"infer": HOOK_VERSIONS["infer"].current},
            about=f"Runs models on an Acme NPU of series {number}.",
            takes="artifact",
            reads=(name,),
            default_device="cpu",
        )
        manifest = Manifest(f"segplug-{name}", {("infer", name): facts})
        package.joinpath(MANIFEST).write_text(manifest_text(manifest))
        info.joinpath("METADATA").write_text(
            f"Metadata-Version: 2.1\nName: segplug-{name}\nVersion: 1.0\nSummary: A made-up plugin\n"
        )
        info.joinpath("entry_points.txt").write_text(
            f"[segplug.infer]\n{name} = segplug_{name}.engine:provider\n"
        )


if __name__ == "__main__":
    main()
