"""Owns patience: when a changed file may be read, when an absent one is gone, when removals are held. Pure."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field

from engine.jobfiles.safe_read import FileKey


@dataclass(frozen=True)
class Patience:
    """Seconds and shares that decide; the defaults are what the manual promises."""

    quiet: float = 0.2  # no change for that long before a file is read
    absence: float = 2.0  # absent for that long before a file is gone
    writer: float = 0.1  # between two looks at a file that a writer has open
    mass_files: int = 10  # more than that many and
    mass_share: float = 0.5  # more than that share vanishing at once is taken for an accident


@dataclass
class Entry:
    """One file. `taken` is the version last read; `known` says the engine knew it before; `suspect` says its folder
    went away or changed its device."""

    key: FileKey | None = None
    taken: FileKey | None = None
    digest: str | None = None
    known: bool = False
    due: float = 0.0
    absent_since: float | None = None
    suspect: bool = False
    held: bool = False
    confirmed: bool = False


@dataclass(frozen=True)
class Verdict:
    """What absent files come to: gone for good, or newly held."""

    gone: tuple[str, ...] = ()
    held: tuple[str, ...] = ()


@dataclass
class Ledger:
    """The files of one folder, by path."""

    patience: Patience = Patience()
    entries: dict[str, Entry] = field(default_factory=dict)

    def expect(self, paths: Iterable[str], now: float) -> None:
        """Files the engine already knows: absent until seen."""
        for path in paths:
            self.entries[path] = Entry(absent_since=now, known=True)

    def observe(self, keys: Mapping[str, FileKey], now: float, *, suspect: bool = False) -> None:
        """One look at the folder. `suspect`: what is missing may have been taken away with its disk."""
        for path, key in keys.items():
            self._present(self.entries.setdefault(path, Entry()), key, now)
        for path in [path for path in self.entries if path not in keys]:
            self._absent(path, now, suspect)

    def _present(self, entry: Entry, key: FileKey, now: float) -> None:
        entry.absent_since, entry.suspect, entry.held, entry.confirmed = None, False, False, False
        if entry.key != key:
            entry.key, entry.due = key, now + self.patience.quiet

    def _absent(self, path: str, now: float, suspect: bool) -> None:
        entry = self.entries[path]
        if entry.absent_since is None:
            if entry.taken is None and not entry.known:  # came and went unread: nobody was told of it
                del self.entries[path]
                return
            entry.absent_since = now
        entry.suspect = entry.suspect or suspect

    def returned(self, now: float) -> None:
        """The folder was away and is back: what is still missing from it is absent from now on."""
        for entry in self.entries.values():
            if entry.absent_since is not None and not entry.held:
                entry.absent_since, entry.suspect = now, False

    def changed(self, path: str, now: float) -> None:
        """The file was not the version expected: its quiet time begins again."""
        self.entries[path].due = now + self.patience.quiet

    def busy(self, path: str, now: float) -> None:
        """A writer has the file open: look again soon."""
        self.entries[path].due = now + self.patience.writer

    def took(self, path: str, key: FileKey, digest: str | None) -> None:
        """This version was read, with that digest."""
        entry = self.entries[path]
        entry.taken, entry.digest = key, digest

    def digest(self, path: str) -> str | None:
        """The digest last taken."""
        return self.entries[path].digest

    def unread(self) -> Iterator[tuple[str, FileKey, float]]:
        """Files waiting to be read: path, version, when."""
        for path, entry in self.entries.items():
            if entry.absent_since is None and entry.key is not None and entry.key != entry.taken:
                yield path, entry.key, entry.due

    def held(self) -> tuple[str, ...]:
        return tuple(sorted(path for path, entry in self.entries.items() if entry.held))

    def confirm(self) -> tuple[str, ...]:
        """The held removals are meant: the next `judge` lets them go."""
        paths = self.held()
        for path in paths:
            self.entries[path].held, self.entries[path].confirmed = False, True
        return paths

    def judge(self, now: float) -> Verdict:
        """Decide on the files that have been absent for long enough; what is gone is forgotten."""
        absent = {p: e for p, e in self.entries.items() if e.absent_since is not None and not e.held}
        due = [p for p, e in absent.items() if e.confirmed or now >= self._end(e)]
        mass = self._is_mass([p for p in absent if not absent[p].confirmed])
        held = tuple(sorted(p for p in due if not absent[p].confirmed and (mass or absent[p].suspect)))
        gone = tuple(sorted(set(due).difference(held)))
        for path in held:
            self.entries[path].held = True
        for path in gone:
            del self.entries[path]
        return Verdict(gone, held)

    def _end(self, entry: Entry) -> float:
        return (entry.absent_since or 0.0) + self.patience.absence

    def _is_mass(self, absent: list[str]) -> bool:
        known = sum(not entry.held and not entry.confirmed for entry in self.entries.values())
        return len(absent) > self.patience.mass_files and len(absent) > known * self.patience.mass_share

    def deadlines(self) -> Iterator[float]:
        """When something is due: a read, or a decision on an absence."""
        yield from (due for _, _, due in self.unread())
        for entry in self.entries.values():
            if entry.absent_since is not None and not entry.held:
                yield 0.0 if entry.confirmed else self._end(entry)
