#!/usr/bin/env bash
# Kiota's JSON reader for Python 1.16.0 changes text in `additional_data` that looks like a UUID or a date.
#
# Guess: properties that a model does not know are kept as they came, and written back unchanged.
# Seen: text becomes `UUID` or `datetime`. Written again, an upper-case UUID is lower case, a date has a
# time, the seventh digit of .NET and Microsoft Graph is gone, and "Z" is "+00:00".
# It matters to whoever reads room calendars or change notifications through Microsoft's generated clients:
# a comparison with the text that was sent is false, and an object that is only read and written is changed.
set -euo pipefail
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
cd "$folder"
python3 -m venv venv
venv/bin/pip install --quiet --disable-pip-version-check microsoft-kiota-abstractions==1.16.0 \
  microsoft-kiota-serialization-json==1.16.0
cat > run.py <<'PY'
import json
from kiota_abstractions.serialization import Parsable
from kiota_serialization_json.json_parse_node import JsonParseNode
from kiota_serialization_json.json_serialization_writer import JsonSerializationWriter


class Room(Parsable):
    def __init__(self):
        self.additional_data = {}

    @staticmethod
    def create_from_discriminator_value(node):
        return Room()

    def get_field_deserializers(self):
        return {}

    def serialize(self, writer):
        writer.write_additional_data_value(self.additional_data)


sent = {
    "state": "E6AE112E-2AF3-4D72-894B-03435D7AFDE4",
    "day": "2024-05-21",
    "start": "2024-05-21T08:22:32.4520009Z",
    "name": "10:30",
}
room = JsonParseNode(sent).get_object_value(Room)
writer = JsonSerializationWriter()
writer.write_object_value(None, room)
written = json.loads(writer.get_serialized_content())
for name, text in sent.items():
    print(f"{text} -> {type(room.additional_data[name]).__name__} -> {written[name]}")
PY
venv/bin/pip list 2>/dev/null | grep kiota | tr -s ' \n' '  '
echo
seen=$(venv/bin/python run.py)
echo "$seen"
expected='E6AE112E-2AF3-4D72-894B-03435D7AFDE4 -> UUID -> e6ae112e-2af3-4d72-894b-03435d7afde4
2024-05-21 -> datetime -> 2024-05-21T00:00:00
2024-05-21T08:22:32.4520009Z -> datetime -> 2024-05-21T08:22:32.452000+00:00
10:30 -> str -> 10:30'
[ "$seen" = "$expected" ] || { echo "the behaviour changed; it was: $expected" >&2; exit 1; }
