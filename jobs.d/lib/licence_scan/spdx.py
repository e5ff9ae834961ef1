"""The report as an SPDX 2.3 document in JSON."""

from __future__ import annotations

import re
import uuid
from datetime import UTC, datetime

NONE = "NOASSERTION"


def document(packages: list[dict]) -> dict:
    identifiers = [_identifier(number, package) for number, package in enumerate(packages)]
    described = list(zip(identifiers, packages, strict=True))
    return {
        "spdxVersion": "SPDX-2.3",
        "dataLicense": "CC0-1.0",
        "SPDXID": "SPDXRef-DOCUMENT",
        "name": "interlock-licence-scan",
        "documentNamespace": f"urn:uuid:{uuid.uuid4()}",
        "creationInfo": {
            "created": f"{datetime.now(UTC):%Y-%m-%dT%H:%M:%SZ}",
            "creators": ["Tool: interlock-licence-scan"],
        },
        "packages": [_package(identifier, package) for identifier, package in described],
        "relationships": [_described(identifier) for identifier in identifiers],
        "hasExtractedLicensingInfos": [_vague(name) for name in _references(packages)],
    }


def _identifier(number: int, package: dict) -> str:
    return f"SPDXRef-Package-{number}-" + re.sub(r"[^A-Za-z0-9.-]", "-", package["name"])


def _package(identifier: str, package: dict) -> dict:
    """filesAnalyzed is false: true would demand a checksum over all files, which this scan does not make."""
    entry = {
        "SPDXID": identifier,
        "name": package["name"],
        "downloadLocation": NONE,
        "filesAnalyzed": False,
        "licenseDeclared": package["declared"] or NONE,
        "licenseConcluded": package["concluded"] or NONE,
        "copyrightText": "\n".join(sorted(package["copyrights"])) or NONE,
        "comment": _comment(package),
    }
    return entry | ({"versionInfo": package["version"]} if package["version"] else {})


def _comment(package: dict) -> str:
    counts = (
        f"files: {package['scanned']}, text files: {package['text_files']}, licence files: {package['licence_files']}"
    )
    tags = ", ".join(sorted(package["tags"])) or "none"
    return f"{counts}; licence texts: {', '.join(sorted(package['texts'])) or 'none'}; tags in sources: {tags}"


def _described(identifier: str) -> dict:
    return {"spdxElementId": "SPDXRef-DOCUMENT", "relationshipType": "DESCRIBES", "relatedSpdxElement": identifier}


def _references(packages: list[dict]) -> list[str]:
    """Licences named by a LicenseRef- have to be explained in the document."""
    said = (package[key] or "" for package in packages for key in ("declared", "concluded"))
    return sorted({name for text in said for name in re.findall(r"LicenseRef-[\w.-]+", text)})


def _vague(name: str) -> dict:
    family = name.removeprefix("LicenseRef-")
    return {"licenseId": name, "extractedText": f"Declared only as {family!r}; the metadata does not say which."}
