#!/usr/bin/env bash
# Half a second before is written as half a second after by betterproto 1.2.5 (and 2.0.0b7), in binary but not in JSON.
#
# Guess: a `timedelta` in a field of the type google.protobuf.Duration is read back as it was, by betterproto and by Google's
# protobuf 7.36.2.
# Seen: seconds are cut towards zero, and the fraction keeps the positive sign that Python gives it: -0.5 s is sent as
# 0 s and +0.5 s, -90.25 s as -89.25 s. `duration.proto` demands one sign for both. The JSON of the same message is right;
# a microsecond is "1e-06s" there, which Google's reader refuses.
# It matters to whoever passes on the age of a reading or the skew of a clock: what is early arrives as late.
set -euo pipefail
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
cd "$folder"
python3 -m venv venv
venv/bin/pip install --quiet --disable-pip-version-check betterproto==1.2.5 protobuf==7.36.2
cat > run.py <<'PY'
import dataclasses, datetime
import betterproto
from google.protobuf import duration_pb2, json_format


@dataclasses.dataclass
class Reading(betterproto.Message):
    skew: datetime.timedelta = betterproto.message_field(1)


for seconds in 1.5, -0.5, -90.25, -2, 0.000001:
    message = Reading(skew=datetime.timedelta(seconds=seconds))
    own = Reading().parse(bytes(message)).skew
    google = duration_pb2.Duration.FromString(bytes(message)[2:])  # after the tag and the length of field 1
    json = message.to_dict()["skew"]
    try:
        read = json_format.Parse(f'"{json}"', duration_pb2.Duration()).ToTimedelta().total_seconds()
    except json_format.ParseError:
        read = "refused"
    print(f"{seconds} s: {own.total_seconds()} (betterproto), {google.seconds} s and {google.nanos} ns (Google); JSON {json}, {read} (Google)")
PY
echo "betterproto 1.2.5, protobuf 7.36.2"
seen=$(venv/bin/python run.py)
echo "$seen"
expected='1.5 s: 1.5 (betterproto), 1 s and 500000000 ns (Google); JSON 1.500s, 1.5 (Google)
-0.5 s: 0.5 (betterproto), 0 s and 500000000 ns (Google); JSON -0.500s, -0.5 (Google)
-90.25 s: -89.25 (betterproto), -90 s and 750000000 ns (Google); JSON -90.250s, -90.25 (Google)
-2 s: -2.0 (betterproto), -2 s and 0 ns (Google); JSON -2.000s, -2.0 (Google)
1e-06 s: 1e-06 (betterproto), 0 s and 1000 ns (Google); JSON 1e-06s, refused (Google)'
[ "$seen" = "$expected" ] || { echo "the behaviour changed; it was: $expected" >&2; exit 1; }
