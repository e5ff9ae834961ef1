"""What workflows there are: the definition in force for each, which files are broken, and which definitions were
ever recorded. Turns the folder's news into changes and dropped runs."""

from __future__ import annotations

from dataclasses import dataclass, field

from engine.model.changes import Change, DefinitionAdded, EventAdded, WorkflowChanged
from engine.model.stored import StoredWorkflow
from engine.model.workflow import Workflow


@dataclass
class Entry:
    """A watched workflow. `definition` None: its file never was good."""

    name: str
    path: str
    state: str
    definition: int | None
    workflow: Workflow | None
    problems: tuple[str, ...] = ()


@dataclass
class Catalog:
    """`definitions` maps (name, hash) to the definition's id; `revisions` the newest revision of each name."""

    next_definition: int
    entries: dict[str, Entry] = field(default_factory=dict)
    definitions: dict[tuple[str, str], int] = field(default_factory=dict)
    revisions: dict[str, int] = field(default_factory=dict)

    @staticmethod
    def restored(rows: tuple[StoredWorkflow, ...], next_definition: int) -> Catalog:
        catalog = Catalog(next_definition)
        for row in rows:
            catalog.entries[row.name] = Entry(row.name, row.path, row.state, row.definition, row.workflow, row.problems)
            catalog.revisions[row.name] = row.revision
            if row.workflow is not None and row.definition is not None:
                catalog.definitions[row.name, row.workflow.definition_hash] = row.definition
        return catalog

    def learn(self, name: str, rows: list[dict[str, object]]) -> None:
        """Takes in the definitions on record of a name, newest revision included."""
        for row in rows:
            self.definitions[name, str(row["hash"])] = int(str(row["definition"]))
            self.revisions[name] = max(self.revisions.get(name, 0), int(str(row["revision"])))

    def known_files(self) -> dict[str, str]:
        """Path to definition hash ("" while broken) of every file that has not been removed."""
        return {
            entry.path: entry.workflow.definition_hash if entry.workflow and entry.state == "active" else ""
            for entry in self.entries.values()
            if entry.state != "removed"
        }

    def define(self, workflow: Workflow, path: str | None, now_us: int) -> tuple[int, list[Change]]:
        """The id of this definition, with the change that records it if it is new."""
        key = workflow.name, workflow.definition_hash
        if key in self.definitions:
            return self.definitions[key], []
        id, self.next_definition = self.next_definition, self.next_definition + 1
        revision = self.revisions.get(workflow.name, 0) + 1
        self.definitions[key], self.revisions[workflow.name] = id, revision
        return id, [DefinitionAdded(id, workflow, revision, path, now_us)]

    def loaded(self, path: str, workflow: Workflow, now_us: int) -> list[Change]:
        """A good file: its definition comes into force."""
        changes = self._forget_other_names(path, workflow.name, now_us)
        before = self.entries.get(workflow.name)
        definition, added = self.define(workflow, path, now_us)
        if before and (before.state, before.definition, before.path) == ("active", definition, path):
            return changes
        if before and before.path != path and before.state == "broken":  # it lost the name, and must stay to be seen
            changes += self.broken_file(before.path, before.problems, now_us)
        self.entries[workflow.name] = Entry(workflow.name, path, "active", definition, workflow)
        data = {
            "path": path,
            "revision": self.revisions[workflow.name],
            "new": bool(added),
            "jobs": _differences(before.workflow if before else None, workflow),
        }
        return [
            *changes,
            *added,
            WorkflowChanged(workflow.name, path, "active", definition, (), now_us),
            EventAdded("file.loaded", now_us, "folder", workflow.name, data=data),
        ]

    def broken(self, path: str, problems: tuple[str, ...], now_us: int) -> list[Change]:
        """A bad file: the last good version of its workflow stays in force, and the problems are shown."""
        entry = next((entry for entry in self.entries.values() if entry.path == path), None)
        name = entry.name if entry else path
        if entry and entry.state == "broken" and entry.problems == problems:
            return []
        definition, workflow = (entry.definition, entry.workflow) if entry else (None, None)
        self.entries[name] = Entry(name, path, "broken", definition, workflow, problems)
        return [
            WorkflowChanged(name, path, "broken", definition, problems, now_us),
            EventAdded("file.broken", now_us, "folder", name, why="; ".join(problems), data={"path": path}),
        ]

    def broken_file(self, path: str, problems: tuple[str, ...], now_us: int) -> list[Change]:
        """A bad file that stands for no workflow; it is listed under its path."""
        self.entries[path] = Entry(path, path, "broken", None, None, problems)
        return [WorkflowChanged(path, path, "broken", None, problems, now_us)]

    def removed(self, path: str, now_us: int) -> list[Change]:
        """A file that is gone: nothing new of its workflow starts from the folder; what runs goes on."""
        found = [entry for entry in self.entries.values() if entry.path == path and entry.state != "removed"]
        return [change for entry in found for change in self._remove(entry, now_us)]

    def _forget_other_names(self, path: str, name: str, now_us: int) -> list[Change]:
        """A file that now defines another name no longer defines its old one (nor is it broken any more)."""
        others = [e for e in self.entries.values() if e.path == path and e.name != name and e.state != "removed"]
        return [change for entry in others for change in self._remove(entry, now_us)]

    def _remove(self, entry: Entry, now_us: int) -> list[Change]:
        entry.state, entry.problems = "removed", ()
        gone = WorkflowChanged(entry.name, entry.path, "removed", entry.definition, (), now_us)
        if entry.definition is None:  # it never was a workflow, only a broken file
            return [gone]
        return [gone, EventAdded("file.removed", now_us, "folder", entry.name, data={"path": entry.path})]


def _differences(old: Workflow | None, new: Workflow) -> dict[str, list[str]]:
    """Which jobs a new definition adds, removes and changes, by name."""
    was = {job.name: job for job in old.jobs} if old else {}
    now = {job.name: job for job in new.jobs}
    return {
        "added": sorted(now.keys() - was.keys()),
        "removed": sorted(was.keys() - now.keys()),
        "changed": sorted(name for name in now.keys() & was.keys() if now[name] != was[name]),
    }
