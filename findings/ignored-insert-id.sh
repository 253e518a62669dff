#!/usr/bin/env bash
# The id that TypeORM 1.1.1, peewee 4.5.3 and SQLAlchemy 2.1.9 report for a duplicate is the id of another event (SQLite).
#
# Guess: after `INSERT … ON CONFLICT DO NOTHING` of a known event the new id is empty, or that of the event. The upsert of
# TypeORM, whose result has `identifiers`, gives the id of the row that it updated.
# Seen: all three pass on `last_insert_rowid()`, which SQLite leaves as it was: it belongs to the last row that the
# connection inserted, whatever table it was in. Event 1 comes again, and the answer is 2, the id of another event.
# It matters to whoever stores an event once and its readings under the id that comes back: a redelivery writes them to the
# wrong event. On PostgreSQL the same code asks for the id with RETURNING; tests on SQLite do not.
set -euo pipefail
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
cd "$folder"
echo '{"private": true, "type": "module"}' > package.json
npm install --silent --no-audit --no-fund --ignore-scripts typeorm@1.1.1 sql.js@1.17.0 reflect-metadata@0.2.2
python3 -m venv venv
venv/bin/pip install --quiet --disable-pip-version-check peewee==4.5.3 sqlalchemy==2.1.9
cat > run.js <<'JS'
import 'reflect-metadata';
import { DataSource, EntitySchema } from 'typeorm';
for (const [name, write] of Object.entries({
  'TypeORM orIgnore': (events, event) => events.createQueryBuilder().insert().values({ event }).orIgnore().execute(),
  'TypeORM upsert': (events, event) => events.upsert({ event }, ['event']),
})) {
  const Event = new EntitySchema({ name: 'event', columns: { id: { type: Number, primary: true, generated: true }, event: { type: String, unique: true } } });
  const source = await new DataSource({ type: 'sqljs', entities: [Event], synchronize: true }).initialize();
  const seen = [];
  for (const event of ['first', 'second', 'first']) {
    const { identifiers: [{ id }] } = await write(source.getRepository(Event), event);
    seen.push(`${event} ${id}`);
  }
  console.log(`${name}: ${seen.join(', ')}; stored ${(await source.getRepository(Event).find()).map(({ id, event }) => `${event} ${id}`).join(', ')}`);
}
JS
cat > run.py <<'PY'
import peewee
import sqlalchemy
from sqlalchemy.dialects.sqlite import insert

EVENTS = ["first", "second", "first"]
database = peewee.SqliteDatabase(":memory:")


class Event(peewee.Model):
    event = peewee.TextField(unique=True)

    class Meta:
        database = database


database.create_tables([Event])
seen = [f"{event} {Event.insert(event=event).on_conflict_ignore().execute()}" for event in EVENTS]
print(f"peewee: {', '.join(seen)}; stored {', '.join(f'{row.event} {row.id}' for row in Event.select())}")

table = sqlalchemy.Table(
    "event",
    sqlalchemy.MetaData(),
    sqlalchemy.Column("id", sqlalchemy.Integer, primary_key=True),
    sqlalchemy.Column("event", sqlalchemy.Text, unique=True),
)
with sqlalchemy.create_engine("sqlite://").begin() as connection:
    table.create(connection)
    statement = insert(table).on_conflict_do_nothing()
    seen = [f"{event} {connection.execute(statement.values(event=event)).inserted_primary_key[0]}" for event in EVENTS]
    stored = connection.execute(sqlalchemy.select(table).order_by(table.c.id))
    print(f"SQLAlchemy: {', '.join(seen)}; stored {', '.join(f'{row.event} {row.id}' for row in stored)}")
PY
echo "typeorm 1.1.1, peewee 4.5.3, SQLAlchemy 2.1.9"
seen=$(node run.js; venv/bin/python run.py)
echo "$seen"
expected='TypeORM orIgnore: first 1, second 2, first 2; stored first 1, second 2
TypeORM upsert: first 1, second 2, first 2; stored first 1, second 2
peewee: first 1, second 2, first 2; stored first 1, second 2
SQLAlchemy: first 1, second 2, first 2; stored first 1, second 2'
[ "$seen" = "$expected" ] || { echo "the behaviour changed; it was: $expected" >&2; exit 1; }
