"""Documents in SQLite: the stand-in's memory, which outlives a kill."""

import json
import sqlite3
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

__all__ = ["Document", "Store"]

Document = dict[str, Any]


class Store:
    """JSON documents by kind and key, in the order of their creation. Safe between threads of one process."""

    def __init__(self, path: Path) -> None:
        path.touch(mode=0o600)  # it holds tokens
        self._lock = threading.RLock()
        self._depth = 0
        self._database = sqlite3.connect(path, check_same_thread=False, isolation_level=None)
        # A kill of the process loses nothing; the machine's power is not simulated.
        self._database.execute("PRAGMA journal_mode=WAL")
        self._database.execute("PRAGMA synchronous=NORMAL")
        self._database.execute(
            "CREATE TABLE IF NOT EXISTS documents (number INTEGER PRIMARY KEY AUTOINCREMENT, "
            "kind TEXT NOT NULL, key TEXT NOT NULL, body TEXT NOT NULL, UNIQUE (kind, key))"
        )

    @contextmanager
    def transaction(self) -> Iterator[None]:
        """All or nothing, and alone; may be nested."""
        with self._lock:
            if self._depth == 0:
                self._database.execute("BEGIN IMMEDIATE")
            self._depth += 1
            try:
                yield
            except BaseException:
                self._leave("ROLLBACK")
                raise
            self._leave("COMMIT")

    def _leave(self, statement: str) -> None:
        self._depth -= 1
        if self._depth == 0 and self._database.in_transaction:
            self._database.execute(statement)

    def get(self, kind: str, key: str) -> Document | None:
        """One document, or None."""
        with self._lock:
            row = self._database.execute(
                "SELECT body FROM documents WHERE kind = ? AND key = ?", (kind, key)
            ).fetchone()
        return None if row is None else json.loads(row[0])

    def put(self, kind: str, key: str, body: Document) -> None:
        """Write a document; one that exists keeps its place in the order."""
        with self.transaction():
            self._database.execute(
                "INSERT INTO documents (kind, key, body) VALUES (?, ?, ?) "
                "ON CONFLICT (kind, key) DO UPDATE SET body = excluded.body",
                (kind, key, json.dumps(body)),
            )

    def all(self, kind: str) -> list[Document]:
        """Every document of a kind, the oldest first."""
        with self._lock:
            rows = self._database.execute(
                "SELECT body FROM documents WHERE kind = ? ORDER BY number", (kind,)
            ).fetchall()
        return [json.loads(body) for (body,) in rows]

    def remove(self, kind: str, key: str | None = None) -> int:
        """Remove one document, or all of a kind; returns how many."""
        with self.transaction():
            if key is None:
                cursor = self._database.execute("DELETE FROM documents WHERE kind = ?", (kind,))
            else:
                cursor = self._database.execute(
                    "DELETE FROM documents WHERE kind = ? AND key = ?", (kind, key)
                )
        return cursor.rowcount

    def close(self) -> None:
        """Close the database."""
        with self._lock:
            self._database.close()
