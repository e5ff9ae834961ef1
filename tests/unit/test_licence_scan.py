"""The licence scan's steps, called as the engine would call them, against independent counts."""

from __future__ import annotations

import importlib.metadata
import json
import os
import sys
import sysconfig
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest

LIB = Path(__file__).resolve().parents[2] / "jobs.d" / "lib"


@dataclass
class Context:
    """What a runner hands to a callable, as far as the scan uses it."""

    params: dict
    attempt: str = "t1.1"
    run: int = 1
    cancelled: bool = False
    seen: list = field(default_factory=list)

    def progress(self, done: int, total: int) -> None:
        self.seen.append((done, total))


@pytest.fixture(autouse=True)
def _library(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.syspath_prepend(str(LIB))


def run_all(folder: Path, tree: str | None, parts: int = 4) -> tuple[dict, dict]:
    """The whole pipeline, in order; returns the report's output and the SPDX document."""
    from licence_scan.copyrights import copyrights
    from licence_scan.inventory import inventory
    from licence_scan.report import report
    from licence_scan.scan import scan

    context = Context({"report": str(folder)})
    first = inventory(context, tree, parts)
    assert len(json.dumps(first)) < 10_000
    scans = [scan(context, part) for part in first["parts"]]
    found = [copyrights(context, part) for part in first["parts"]]
    output = report(context, first, scans, found)
    assert len((folder / "effects.log").read_text().splitlines()) == 2 + 2 * len(first["parts"])
    assert all(0 <= done <= total for done, total in context.seen)
    return output, json.loads((folder / "report.spdx.json").read_text())


def package(document: dict, name: str) -> dict:
    return next(each for each in document["packages"] if each["name"] == name)


def make_tree(root: Path) -> Path:
    """Two folders and a file beside them, with everything that has no business in a text scan."""
    (root / "alpha").mkdir(parents=True)
    (root / "beta/.git").mkdir(parents=True)
    (root / "alpha/main.c").write_text("// SPDX-License-Identifier: GPL-2.0-or-later\n// Copyright (c) 2019 Ada L.\n")
    (root / "alpha/other.c").write_text("/* Copyright (c) 2019  Ada L. */\n")
    (root / "alpha/data.bin").write_bytes(b"\0Copyright (c) 2001 Nobody\n" * 100)
    (root / "beta/LICENSE").write_text(
        "Permission is hereby granted, free of charge, to any person\nobtaining a copy; "
        "the above copyright notice and this permission notice shall be kept.\n"
        "Copyright 2020 Grace H.\n"
    )
    (root / "beta/latin.txt").write_bytes(b"Copyright 1999 Ren\xe9 D.\n")
    (root / "beta/.git/config").write_text("Copyright 2000 Hidden\n")
    (root / "README").write_text("The copyright holders are many.\n")
    Path(os.fsdecode(os.fsencode(root) + b"/beta/\xff.txt")).write_text("Copyright 2021 Odd Name\n")
    os.mkfifo(root / "beta/pipe")
    (root / "beta/loop").symlink_to(root)
    (root / "beta/gone").symlink_to("nowhere")
    return root


def test_a_source_tree_gives_one_package_per_top_level_folder(tmp_path: Path) -> None:
    output, document = run_all(tmp_path / "out", str(make_tree(tmp_path / "tree")))
    assert {each["name"] for each in document["packages"]} == {"alpha", "beta", "tree"}
    assert (output["distributions"], output["files"], output["copyrights"]) == (3, 8, 4)
    alpha, beta = package(document, "alpha"), package(document, "beta")
    assert alpha["copyrightText"] == "Copyright (c) 2019 Ada L"
    assert "GPL-2.0-or-later" in alpha["comment"]
    assert beta["licenseConcluded"] == "MIT"
    assert "Copyright 1999 Ren� D" in beta["copyrightText"]
    assert Path(output["report"]).read_text().startswith("# Licence report")


def test_the_environment_is_counted_as_importlib_counts_it(tmp_path: Path) -> None:
    output, document = run_all(tmp_path, None, parts=8)
    site = list({os.path.realpath(sysconfig.get_path(kind)) for kind in ("purelib", "platlib")})
    expected = list(importlib.metadata.distributions(path=site))
    assert output["distributions"] == len(document["packages"]) == len(expected)
    assert output["files"] == sum(len(each.files or ()) for each in expected)
    assert output["copyrights"] > 0
    assert sorted(each["name"] for each in document["packages"]) == sorted(each.metadata["Name"] for each in expected)
    assert package(document, "pytest")["licenseDeclared"] == "MIT"


def make_distribution(site: Path, name: str, *fields: str) -> None:
    info = site / f"{name}-1.0.dist-info"
    info.mkdir(parents=True)
    (info / "METADATA").write_text("\n".join(["Metadata-Version: 2.1", f"Name: {name}", "Version: 1.0", *fields, ""]))
    (site / f"{name}.py").write_text(f"# Copyright 2024 The {name} Authors\n")
    record = f"{name}.py,,\n{info.name}/METADATA,,\nmissing.py,,\n"
    (info / "RECORD").write_text(record)


def test_another_site_packages_with_missing_files(tmp_path: Path) -> None:
    site = tmp_path / "venv/lib/python3.11/site-packages"
    make_distribution(site, "one", "License-Expression: mit or apache-2.0")
    make_distribution(site, "two", "License: BSD", "Classifier: License :: OSI Approved :: BSD License")
    make_distribution(site, "three", "Classifier: License :: OSI Approved :: MIT License")
    output, document = run_all(tmp_path / "out", str(tmp_path / "venv"))
    assert (output["distributions"], output["copyrights"]) == (3, 3)
    declared = {each["name"]: each["licenseDeclared"] for each in document["packages"]}
    assert declared == {"one": "MIT OR Apache-2.0", "two": "LicenseRef-BSD", "three": "MIT"}
    assert [each["licenseId"] for each in document["hasExtractedLicensingInfos"]] == ["LicenseRef-BSD"]


def test_an_empty_tree_is_an_empty_report(tmp_path: Path) -> None:
    (tmp_path / "tree").mkdir()
    output, _ = run_all(tmp_path / "out", str(tmp_path / "tree"))
    assert (output["distributions"], output["files"]) == (0, 0)


def test_a_tree_that_is_no_folder_is_said_so(tmp_path: Path) -> None:
    with pytest.raises(NotADirectoryError, match="is not a folder"):
        run_all(tmp_path, str(tmp_path / "nowhere"))


@pytest.mark.parametrize(
    ("statement", "expected"),
    [
        ("Apache License, Version 2.0", "Apache-2.0"),
        ("BSD-3-Clause", "BSD-3-Clause"),
        ("The MIT License", "MIT"),
        ("Apache-2.0 OR BSD-2-Clause", "Apache-2.0 OR BSD-2-Clause"),
        ("whatever you like", None),
        ("UNKNOWN", None),
    ],
)
def test_declared_licences_are_normalised(statement: str, expected: str | None) -> None:
    from licence_scan.declared import understand

    assert understand(statement) == expected


def test_parts_are_balanced(tmp_path: Path) -> None:
    from licence_scan.inventory import inventory

    output = inventory(Context({"report": str(tmp_path)}), None, 4)
    sizes = [part["files"] for part in output["parts"]]
    assert len(sizes) == 4
    assert sum(sizes) == output["files"]


def test_a_cancelled_thread_stops(tmp_path: Path) -> None:
    from licence_scan.copyrights import copyrights
    from licence_scan.inventory import inventory

    context: Any = Context({"report": str(tmp_path / "out")})
    part = inventory(context, str(make_tree(tmp_path / "tree")), 1)["parts"][0]
    context.cancelled = True
    with pytest.raises(InterruptedError):
        copyrights(context, part)
    assert "licence_scan" in sys.modules
