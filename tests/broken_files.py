"""Job files broken in as many ways: (file in tests/data/broken, the line a message must name, words it must hold)."""

from __future__ import annotations

from pathlib import Path

FOLDER = Path(__file__).parent / "data" / "broken"

BROKEN: tuple[tuple[str, int, tuple[str, ...]], ...] = (
    ("tab.yaml", 3, ("tab",)),
    ("unclosed-bracket.yaml", 3, ("not YAML",)),
    ("unknown-key.yaml", 4, ("comand", "command")),
    ("unknown-nested-key.yaml", 6, ("backof", "backoff")),
    ("no-unit.yaml", 4, ("timeout", "30", "unit")),
    ("bad-pool.yaml", 4, ("pool", "fork", "thread")),
    ("two-actions.yaml", 3, ("command", "shell")),
    ("no-action.yaml", 3, ("command", "shell", "python")),
    ("unknown-need.yaml", 6, ("biuld", "build")),
    ("cycle.yaml", 2, ("hen", "egg")),
    ("template-in-shell.yaml", 4, ("shell", "template")),
    ("template-after-dash-c.yaml", 4, ("template", "-c")),
    ("template-root.yaml", 3, ("environ", "params")),
    ("template-logic.yaml", 4, ("upper",)),
    ("template-not-needed.yaml", 5, ("needs", "count")),
    ("unknown-parameter.yaml", 4, ("sorce", "source")),
    ("duplicate-key.yaml", 4, ("build", "twice")),
    ("alias.yaml", 2, ("common", "anchor")),
    ("latin-1.yaml", 2, ("UTF-8",)),
    ("condition.yaml", 6, ("finished", "failed")),
    ("exit-code.yaml", 4, ("300", "255")),
    ("two-documents.yaml", 2, ("second document",)),
    ("not-a-mapping.yaml", 1, ("list", "mapping")),
    ("bad-callable.yaml", 3, ("module:function",)),
    ("item-without-each.yaml", 3, ("item", "each")),
    ("syntax.toml", 4, ("not TOML",)),
    ("date.toml", 3, ("2026-11-23", "quotes")),
    ("twice.toml", 4, ("jobs",)),
)
