#!/usr/bin/env bash
# A negative Int8 or Int16 of Sparkplug B is a large positive number, or an error, when it comes from another SDK.
#
# Guess: SDKs of Sparkplug B read a negative integer of each other as it was sent.
# Seen: Sparkplug 3.0 (section 6.4.17) gives signed integers the unsigned types of Protocol Buffers, and does not say how a sign
# is written. pysparkplug 0.6.1 and mqtt-spb-wrapper 2.1.2 write the two's complement in the width of the type, 8 bits for Int8;
# sparkplug-payload 1.0.3 (npm) always writes 32. It reads -70 from Python as 186, without an error; pysparkplug raises
# OverflowError for -70 from JavaScript, and the other metrics of that payload are lost too. mqtt-spb-wrapper reads both.
# Int32 and Int64 are the same everywhere.
# It matters to whoever reads the signal strength of a presence sensor in dBm, or a temperature below zero.
set -euo pipefail
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
cd "$folder"
echo '{"private": true, "type": "module"}' > package.json
npm install --silent --no-audit --no-fund --ignore-scripts sparkplug-payload@1.0.3
# pysparkplug and mqtt-spb-wrapper need different versions of protobuf.
python3 -m venv newer
newer/bin/pip install --quiet --disable-pip-version-check pysparkplug==0.6.1
python3 -m venv older
older/bin/pip install --quiet --disable-pip-version-check mqtt-spb-wrapper==2.1.2
cat > node.js <<'JS'
import sparkplug from 'sparkplug-payload';
const { encodePayload, decodePayload } = sparkplug.get('spBv1.0');
const [, , action, ...items] = process.argv;
for (const item of items) {
  const [type, value] = item.split('=');
  const metrics = [{ name: 'rssi', type, value: Number(value), timestamp: 1 }];
  if (action === 'write') console.log(Buffer.from(encodePayload({ timestamp: 1, seq: 0, metrics })).toString('hex'));
  else console.log(String(decodePayload(Buffer.from(item, 'hex')).metrics[0].value));
}
JS
cat > newer.py <<'PY'
import sys
from pysparkplug import DataType, Metric, NBirth


def read(payload):
    try:
        return NBirth.decode(bytes.fromhex(payload)).metrics[0].value
    except OverflowError:
        return "OverflowError"


def write(item):
    kind, value = item.split("=")
    metric = Metric(timestamp=1, name="rssi", datatype=DataType[kind.upper()], value=int(value))
    return NBirth(timestamp=1, seq=0, metrics=[metric]).encode().hex()


print(*map({"read": read, "write": write}[sys.argv[1]], sys.argv[2:]), sep="\n")
PY
cat > older.py <<'PY'
import sys
from mqtt_spb_wrapper.spb_base import MetricDataType, SpbEntity


def read(payload):
    node = SpbEntity("group", "node")
    node.deserialize_payload_data(bytes.fromhex(payload))
    return node.data.get_value("rssi")


def write(item):
    kind, value = item.split("=")
    node = SpbEntity("group", "node")
    node.data.set_value("rssi", int(value), spb_data_type=getattr(MetricDataType, kind))
    return node.serialize_payload_data(send_all=True).hex()


print(*map({"read": read, "write": write}[sys.argv[1]], sys.argv[2:]), sep="\n")
PY
declare -A run=([sparkplug-payload]="node node.js" [pysparkplug]="newer/bin/python newer.py" [mqtt-spb-wrapper]="older/bin/python older.py")
echo "sparkplug-payload 1.0.3, pysparkplug 0.6.1, mqtt-spb-wrapper 2.1.2"
sent="Int8=-70 Int16=-300 Int32=-70000 Int64=-5"
seen=$(for writer in sparkplug-payload pysparkplug mqtt-spb-wrapper; do
  payloads=$(${run[$writer]} write $sent)
  for reader in sparkplug-payload pysparkplug mqtt-spb-wrapper; do
    echo "$writer to $reader: $sent read as" $(${run[$reader]} read $payloads)
  done
done)
echo "$seen"
expected='sparkplug-payload to sparkplug-payload: Int8=-70 Int16=-300 Int32=-70000 Int64=-5 read as -70 -300 -70000 -5
sparkplug-payload to pysparkplug: Int8=-70 Int16=-300 Int32=-70000 Int64=-5 read as OverflowError OverflowError -70000 -5
sparkplug-payload to mqtt-spb-wrapper: Int8=-70 Int16=-300 Int32=-70000 Int64=-5 read as -70 -300 -70000 -5
pysparkplug to sparkplug-payload: Int8=-70 Int16=-300 Int32=-70000 Int64=-5 read as 186 65236 -70000 -5
pysparkplug to pysparkplug: Int8=-70 Int16=-300 Int32=-70000 Int64=-5 read as -70 -300 -70000 -5
pysparkplug to mqtt-spb-wrapper: Int8=-70 Int16=-300 Int32=-70000 Int64=-5 read as -70 -300 -70000 -5
mqtt-spb-wrapper to sparkplug-payload: Int8=-70 Int16=-300 Int32=-70000 Int64=-5 read as 186 65236 -70000 -5
mqtt-spb-wrapper to pysparkplug: Int8=-70 Int16=-300 Int32=-70000 Int64=-5 read as -70 -300 -70000 -5
mqtt-spb-wrapper to mqtt-spb-wrapper: Int8=-70 Int16=-300 Int32=-70000 Int64=-5 read as -70 -300 -70000 -5'
[ "$seen" = "$expected" ] || { echo "the behaviour changed; it was: $expected" >&2; exit 1; }
