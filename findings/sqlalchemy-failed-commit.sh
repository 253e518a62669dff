#!/usr/bin/env bash
# After a commit that failed on SQLite, SQLAlchemy 2.1.9 puts the connection back with the transaction open; the next commits it.
#
# Guess: when `session.commit()` raises and the session is closed, the transaction is over: rolled back, and the file is free.
# Seen: SQLite keeps a transaction whose COMMIT failed, because a reader was in the way or a deferred constraint is violated.
# The session takes it for ended, and the pool skips its rollback. The file stays locked for every other process until the
# connection is used again, and whoever gets it sees the rows of the failed session, and commits them with its own.
# `session.rollback()` after the error helps, and so do `with session.begin()` and `with engine.begin()`.
# It matters to whoever keeps webhooks in SQLite: an event that was answered 500, and whose claim was given up, is stored all
# the same, minutes later, by the commit of another event; in between every other worker is locked out.
set -euo pipefail
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
cd "$folder"
python3 -m venv venv
venv/bin/pip install --quiet --disable-pip-version-check sqlalchemy==2.1.9
cat > run.py <<'PY'
import sqlite3

from sqlalchemy import create_engine, text
from sqlalchemy.exc import SQLAlchemyError
from sqlalchemy.orm import Session


def store(engine, event, room="known", new_room=None):
    with Session(engine) as session:
        session.execute(text("PRAGMA foreign_keys = ON"))
        session.execute(text("INSERT INTO event VALUES (:event, :room)"), {"event": event, "room": room})
        if new_room:
            session.execute(text("INSERT INTO room VALUES (:room)"), {"room": new_room})
        session.commit()


def attempt(work, *arguments):
    try:
        work(*arguments)
        return "done"
    except (SQLAlchemyError, sqlite3.Error) as error:
        return str(getattr(error, "orig", error))


WRITE = "INSERT INTO room VALUES ('other')"
for reason in "reader", "constraint":
    other = sqlite3.connect(f"{reason}.db", timeout=0, isolation_level=None)
    other.executescript("""
        CREATE TABLE room (id TEXT PRIMARY KEY);
        CREATE TABLE event (id TEXT PRIMARY KEY, room TEXT REFERENCES room DEFERRABLE INITIALLY DEFERRED);
        INSERT INTO room VALUES ('known');
    """)
    engine = create_engine(f"sqlite:///{reason}.db", connect_args={"timeout": 0})
    if reason == "reader":
        other.execute("BEGIN")
        other.execute("SELECT * FROM room").fetchall()
        print(f"{reason}: A {attempt(store, engine, 'A')}")
        other.execute("COMMIT")
    else:
        print(f"{reason}: A {attempt(store, engine, 'A', 'new')}")
    print(f"  another process writes: {attempt(other.execute, WRITE)}")
    print(f"  B {attempt(store, engine, 'B', 'known', 'new')}")
    print(f"  stored: {', '.join(id for id, in other.execute('SELECT id FROM event'))}")
PY
echo "SQLAlchemy 2.1.9"
seen=$(venv/bin/python run.py)
echo "$seen"
expected='reader: A database is locked
  another process writes: database is locked
  B done
  stored: A, B
constraint: A FOREIGN KEY constraint failed
  another process writes: database is locked
  B done
  stored: A, B'
[ "$seen" = "$expected" ] || { echo "the behaviour changed; it was: $expected" >&2; exit 1; }
