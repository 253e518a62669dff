#!/usr/bin/env bash
# SQLite 3.51.1 stores some UUIDs as infinity in a column that is declared UUID.
#
# Guess: a column type that SQLite does not know keeps text as text.
# Seen: "UUID" contains none of the words by which SQLite finds a type, so the column is NUMERIC, and text
# that looks like a number becomes one. 32 hexadecimal digits that are all decimal become a float with
# 16 digits; with one "e" among decimal digits they become an exponent, and mostly infinity. Two different
# ids are then equal. About one of 700 000 random UUIDs is of these forms; all others stay text.
# It matters to whoever deduplicates by a primary key that holds `uuid.hex`: the second event with such an
# id is refused as a duplicate, and no test with a few thousand ids shows it.
set -euo pipefail
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
cd "$folder"
python3 -m venv venv
venv/bin/pip install --quiet --disable-pip-version-check pysqlite3-binary==0.5.4.post2
cat > run.py <<'PY'
import uuid
from pysqlite3 import dbapi2

database = dbapi2.connect(":memory:")
for column in ["UUID", "TEXT"]:
    database.execute(f"CREATE TABLE seen_{column} (id {column} PRIMARY KEY)")
    new = []
    for text in ["e6ae112e-2af3-4d72-894b-03435d7afde4", "24121634-1359-4259-8707-1234567890e5",
                 "32121634-5679-4159-8700-91234567e890", "41121634-5679-4159-8700-91234567e891"]:
        sql = f"INSERT INTO seen_{column} VALUES (?) ON CONFLICT DO NOTHING"
        new.append(database.execute(sql, [uuid.UUID(text).hex]).rowcount == 1)
    kinds = [row[0] for row in database.execute(f"SELECT typeof(id) FROM seen_{column} ORDER BY rowid")]
    print(f"{column}: new {new}, stored {kinds}")
PY
venv/bin/python -c 'from pysqlite3 import dbapi2; print("SQLite", dbapi2.sqlite_version)'
seen=$(venv/bin/python run.py)
echo "$seen"
expected="UUID: new [True, True, True, False], stored ['text', 'real', 'real']
TEXT: new [True, True, True, True], stored ['text', 'text', 'text', 'text']"
[ "$seen" = "$expected" ] || { echo "the behaviour changed; it was: $expected" >&2; exit 1; }
