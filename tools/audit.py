"""Known holes in what metatrack depends on, as PyPI lists them (from the OSV database) for the versions that are installed here.

python tools/audit.py       # exit code 1 if there is one
"""

from __future__ import annotations

import json
import re
import sys
import urllib.request
from importlib import metadata

ADDRESS = "https://pypi.org/pypi/{}/{}/json"


def dependencies() -> dict[str, str]:
    """Name and installed version of each direct dependency, those of extras among them."""
    found = {}
    for line in metadata.requires("metatrack") or ():
        name = re.match(r"[A-Za-z0-9._-]+", line)
        if name is None:
            continue
        try:
            found[name[0].lower()] = metadata.version(name[0])
        except metadata.PackageNotFoundError:
            print(f"{name[0]}: not installed here, not asked")
    return dict(sorted(found.items()))


def holes(name: str, version: str) -> list[str]:
    """What is known of a version; empty where that is nothing.

    Raises:
        OSError: PyPI cannot be asked, or does not know the version (a build of one's own).
    """
    address = ADDRESS.format(name, version.partition("+")[0])
    with urllib.request.urlopen(address, timeout=30) as answer:  # noqa: S310 - https, above
        listed = json.load(answer).get("vulnerabilities", [])
    return [
        f"{each['id']} ({', '.join(each.get('aliases', []))}), mended in {', '.join(each.get('fixed_in', [])) or 'no version'}"
        for each in listed
        if not each.get("withdrawn")
    ]


def main() -> int:
    """Asks for each dependency; the exit code is 1 if one has a known hole, 2 if one could not be asked."""
    status = 0
    for name, version in dependencies().items():
        try:
            found = holes(name, version)
        except (OSError, ValueError) as error:
            print(f"{name} {version}: not known ({error})")
            status = status or 2
            continue
        print(f"{name} {version}: {'; '.join(found) or 'nothing known'}")
        status = 1 if found or status == 1 else status
    return status


if __name__ == "__main__":
    sys.exit(main())
