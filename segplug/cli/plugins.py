"""``segplug plugins``: list the installed plugins, and check them."""

from __future__ import annotations

import shutil
import sys
from dataclasses import asdict, replace
from itertools import groupby
from typing import TYPE_CHECKING, Any

import click

from segplug.cli.listing import entry_lines, write_entries
from segplug.cli.printing import print_document, print_line, print_text
from segplug.errors import PluginError, UsageError
from segplug.installed import Entry
from segplug.registry.discovery import all_entries

if TYPE_CHECKING:
    from segplug.cli.output import Output
    from segplug.options import OptionSpec

__all__ = ["plugins"]


@click.group(context_settings={"help_option_names": ["-h", "--help"]})
def plugins() -> None:
    """List the installed plugins, and check them."""


@plugins.command("list")
@click.option("--check", is_flag=True, help="Import every plugin and say which are broken, and why.")
@click.option("--json", "as_json", is_flag=True, help="Print one JSON document on stdout.")
@click.option("--debug", is_flag=True, help="Show tracebacks.")
def list_plugins(check: bool, as_json: bool, debug: bool) -> int:
    """List every installed target and add-on.

    Read from metadata and manifests: nothing is imported, unless --check asks for it. With --check the exit
    code is 1 if a plugin cannot be used, or a target is claimed twice.
    """
    found = [_checked(entry) if check else entry for entry in all_entries()]
    if as_json:
        print_document([asdict(entry) for entry in found])
    elif not sys.stdout.isatty():
        sections = groupby(found, key=lambda entry: entry.hook)
        print_text("\n".join(entry_lines(hook, entries) for hook, entries in sections).rstrip())
    else:
        formatter = click.HelpFormatter(width=shutil.get_terminal_size((110, 24)).columns)
        for hook, entries in groupby(found, key=lambda entry: entry.hook):
            write_entries(formatter, hook, entries)
        print_text(formatter.getvalue().strip())
    return 1 if check and any(entry.status != "available" for entry in found) else 0


@plugins.command("manifest")
@click.argument("distributions", nargs=-1, metavar="[DISTRIBUTION]...")
@click.option(
    "--check", is_flag=True, help="Write nothing; exit with 1 if a manifest does not fit its classes."
)
@click.option("--debug", is_flag=True, help="Show tracebacks.")
def write_manifest(distributions: tuple[str, ...], check: bool, debug: bool) -> int:
    """Write segplug.json beside the modules of a DISTRIBUTION that you develop (--check alone: of all).

    It holds what listings and routes ask of a plugin without importing it. Install the plugin for editing
    (pip install -e), run this after a change of a class or an entry point, and ship the file with the
    package.
    """
    from segplug.registry.authoring import outdated_manifests, plugin_distributions, write_manifests

    if not distributions and not check:
        raise UsageError(
            "name the distribution that you develop", hint="segplug plugins manifest segplug-acme"
        )
    failed = False
    for distribution in distributions or plugin_distributions():
        if not check:
            for path, changed in write_manifests(distribution).items():
                print_line(f"wrote {path}" if changed else f"{path} fits")
            continue
        for path in outdated_manifests(distribution):
            print_line(
                f"{path} does not fit the classes of {distribution}: segplug plugins manifest {distribution}"
            )
            failed = True
    if check and not failed:
        print_line("the manifests fit")
    return 1 if failed else 0


def _checked(entry: Entry) -> Entry:
    from segplug.registry.registry import Registry

    try:
        Registry().check(entry)
    except PluginError as error:
        return replace(
            entry, status="outdated" if entry.status == "outdated" else "broken", reason=str(error)
        )
    return entry


@plugins.command("show")
@click.argument("target")
@click.option("--json", "as_json", is_flag=True, help="Print one JSON document on stdout.")
@click.option("--debug", is_flag=True, help="Show tracebacks.")
def show_plugin(target: str, as_json: bool, debug: bool) -> int:
    """Describe TARGET (a name, or distribution:name) and its options.

    This imports the plugins that offer the target. The exit code is 1 if one of them is broken.
    """
    from segplug.cli.output import Output
    from segplug.options import unknown

    found = [entry for entry in all_entries() if target in (entry.target, entry.qualified)]
    if not found:
        raise unknown("target", target, {entry.target for entry in all_entries()}, owner="plugins show")
    output = Output(as_json=as_json)
    described = [_describe(entry) for entry in found]
    for data in described:
        _print(output, data)
    output.document(described)
    return 1 if any(data["status"] == "broken" for data in described) else 0


def _describe(entry: Entry) -> dict[str, Any]:
    from segplug.registry.registry import Registry

    data: dict[str, Any] = asdict(entry)
    try:
        provider = Registry().check(entry)
    except PluginError as error:
        return {**data, "status": "broken", "reason": str(error), "options": [], "help": ""}
    return {
        **data,
        "help": provider.help,
        "options": []
        if entry.hook == "command"
        else [_option(entry, spec) for spec in provider.option_specs],
    }


def _option(entry: Entry, spec: OptionSpec) -> dict[str, Any]:
    flag = f"--addon-options {entry.target}.{spec.name}=" if entry.hook == "addon" else spec.flag
    default = None if spec.default is None else str(spec.default)
    return {"flag": flag, "type": spec.type.__name__, "default": default, "help": spec.help}


def _print(output: Output, data: dict[str, Any]) -> None:
    from segplug.results import Table

    output.say(f"{data['hook']} {data['target']}: {data['distribution']} {data['version']} ({data['value']})")
    output.say(f"  status: {data['status']}{': ' + data['reason'] if data['reason'] else ''}")
    facts = {name: value for name, value in data["facts"].items() if value and name not in ("kind", "about")}
    for name, value in facts.items():
        output.say(f"  {name.replace('_', ' ')}: {_as_text(value)}")
    if data["help"]:
        output.paragraph(" ".join(data["help"].split()), indent=2)
    rows = tuple(
        (item["flag"], item["type"], item["default"] or "", item["help"]) for item in data["options"]
    )
    if rows:
        output.table(Table("", ("option", "type", "default", "help"), rows))


def _as_text(value: Any) -> str:
    if isinstance(value, dict):
        return ", ".join(f"{key} {item}" for key, item in value.items())
    return ", ".join(value) if isinstance(value, tuple) else str(value)
