#!/usr/bin/env bash
# msgspec 0.23.0 and arrow 1.4.0 round a timestamp's seventh digit: one event, two years.
#
# Guess: Python's readers cut a fraction to microseconds, as `datetime.fromisoformat`, pydantic, ciso8601 and
# dateutil do.
# Seen: msgspec and arrow round. The last 100 ns of 2024, which .NET writes with seven digits, are in 2025.
# The end of .NET's range, 9999-12-31T23:59:59.9999999Z, is an error for both, and read by the others.
# It matters where services with different readers compare, order or deduplicate events by their time, and
# where "no end" is written as .NET's `DateTime.MaxValue`.
set -euo pipefail
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
cd "$folder"
python3 -m venv venv
venv/bin/pip install --quiet --disable-pip-version-check arrow==1.4.0 ciso8601==2.4.1 msgspec==0.23.0 pydantic==2.14.4 \
  python-dateutil==2.9.0.post0
cat > run.py <<'PY'
from datetime import datetime
import arrow, ciso8601, dateutil.parser, msgspec, pydantic

READERS = {
    "fromisoformat": datetime.fromisoformat,
    "pydantic": pydantic.TypeAdapter(datetime).validate_python,
    "ciso8601": ciso8601.parse_rfc3339,
    "dateutil": dateutil.parser.isoparse,
    "msgspec": lambda text: msgspec.convert(text, datetime),
    "arrow": lambda text: arrow.get(text).datetime,
}
for text in ["2024-12-31T23:59:59.9999999Z", "9999-12-31T23:59:59.9999999Z"]:
    print(text)
    for name, read in READERS.items():
        try:
            seen = read(text).isoformat()
        except (ValueError, OverflowError) as error:
            seen = type(error).__name__
        print(f"  {name}: {seen}")
PY
venv/bin/pip list 2>/dev/null | grep -E '^(arrow|ciso8601|msgspec|pydantic|python-dateutil) ' | tr -s ' \n' '  '
echo
seen=$(venv/bin/python run.py)
echo "$seen"
expected='2024-12-31T23:59:59.9999999Z
  fromisoformat: 2024-12-31T23:59:59.999999+00:00
  pydantic: 2024-12-31T23:59:59.999999+00:00
  ciso8601: 2024-12-31T23:59:59.999999+00:00
  dateutil: 2024-12-31T23:59:59.999999+00:00
  msgspec: 2025-01-01T00:00:00+00:00
  arrow: 2025-01-01T00:00:00+00:00
9999-12-31T23:59:59.9999999Z
  fromisoformat: 9999-12-31T23:59:59.999999+00:00
  pydantic: 9999-12-31T23:59:59.999999+00:00
  ciso8601: 9999-12-31T23:59:59.999999+00:00
  dateutil: 9999-12-31T23:59:59.999999+00:00
  msgspec: ValidationError
  arrow: OverflowError'
[ "$seen" = "$expected" ] || { echo "the behaviour changed; it was: $expected" >&2; exit 1; }
