#!/usr/bin/env bash
# pysqlite3 0.5.4 (like Python's sqlite3) reads its own timestamps with an offset back wrongly, or not at all.
#
# Guess: a `datetime` with a time zone, written by the default adapter into a `timestamp` column, is read
# back by the default converter as the same moment, or always refused.
# Seen: with a fraction the offset is dropped without an error: 10:22 at +02:00 is read as 10:22 without a
# zone. With a whole second the read raises ValueError.
# It matters to whoever stores event times with milliseconds: nearly all rows are read (shifted by the
# offset), and one in a thousand, whose milliseconds are 000, fails the whole query.
set -euo pipefail
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
cd "$folder"
python3 -m venv venv
venv/bin/pip install --quiet --disable-pip-version-check pysqlite3-binary==0.5.4.post2
cat > run.py <<'PY'
import warnings
from datetime import datetime
from pysqlite3 import dbapi2

warnings.simplefilter("ignore", DeprecationWarning)
database = dbapi2.connect(":memory:", detect_types=dbapi2.PARSE_DECLTYPES)
for text in ["2024-05-21T10:22:32.452000+02:00", "2024-05-21T10:22:32+02:00"]:
    database.execute("CREATE TABLE event (at timestamp)")
    database.execute("INSERT INTO event VALUES (?)", [datetime.fromisoformat(text)])
    try:
        read = database.execute("SELECT at FROM event").fetchone()[0].isoformat()
    except ValueError as error:
        read = type(error).__name__
    database.execute("DROP TABLE event")
    print(f"{text} -> {read}")
PY
echo "$(venv/bin/pip list 2>/dev/null | grep pysqlite3), $(venv/bin/python --version)"
seen=$(venv/bin/python run.py)
echo "$seen"
expected='2024-05-21T10:22:32.452000+02:00 -> 2024-05-21T10:22:32.452000
2024-05-21T10:22:32+02:00 -> ValueError'
[ "$seen" = "$expected" ] || { echo "the behaviour changed; it was: $expected" >&2; exit 1; }
