#!/usr/bin/env bash
# yaml 2.9.1, ruamel.yaml 0.19.1 and DuckDB 2.0.1 read a sensor's number as infinity.
#
# Guess: a LoRaWAN DevEUI such as 24E1241363259870 (16 hexadecimal digits; 24E124 is the prefix of a maker of
# room occupancy sensors) is text wherever it stands without quotes.
# Seen: an EUI with one "E" among decimal digits is a float's exponent. YAML 1.2's core schema reads it as
# infinity (so do yaml and ruamel.yaml), and js-yaml 5.5.0, which reads it as text, therefore writes it
# without quotes. DuckDB's CSV sniffer makes the column DOUBLE, and two sensors become one.
# It matters to whoever keeps a table of sensors and desks: presence of all such sensors is joined to one
# desk, and the sensors with another letter in their EUI work.
set -euo pipefail
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
cd "$folder"
echo '{"private": true, "type": "module"}' > package.json
npm install --silent --no-audit --no-fund --ignore-scripts js-yaml@5.5.0 yaml@2.9.1
python3 -m venv venv
venv/bin/pip install --quiet --disable-pip-version-check duckdb==2.0.1 ruamel.yaml==0.19.1
cat > run.js <<'JS'
import * as fs from 'node:fs';
import * as jsYaml from 'js-yaml';
import * as yaml from 'yaml';
const text = jsYaml.dump({ eui: '24E1241363259870' });
fs.writeFileSync('sensor.yaml', text);
console.log(`js-yaml writes ${text.trim()}; js-yaml reads ${jsYaml.load(text).eui}, yaml reads ${yaml.parse(text).eui}`);
JS
cat > run.py <<'PY'
import duckdb
from ruamel.yaml import YAML

with open("sensor.yaml") as file:
    print(f"ruamel.yaml reads {YAML(typ='safe').load(file)['eui']}")
with open("sensors.csv", "w") as file:
    file.write("eui,desk\n24E1241363259870,Window\n24E1241363259871,Door\n")
print("DuckDB reads", duckdb.sql("SELECT eui, typeof(eui), count(*) FROM 'sensors.csv' GROUP BY ALL").fetchall())
PY
echo "$(npm ls --depth=0 --parseable --long | sed -n 's/.*:\(.*yaml@\)/\1/p' | tr '\n' ' ')$(venv/bin/pip list 2>/dev/null | grep -E 'duckdb|ruamel.yaml ' | tr -s ' \n' '  ')"
seen=$(node run.js && venv/bin/python run.py)
echo "$seen"
expected="js-yaml writes eui: 24E1241363259870; js-yaml reads 24E1241363259870, yaml reads Infinity
ruamel.yaml reads inf
DuckDB reads [(inf, 'DOUBLE', 2)]"
[ "$seen" = "$expected" ] || { echo "the behaviour changed; it was: $expected" >&2; exit 1; }
