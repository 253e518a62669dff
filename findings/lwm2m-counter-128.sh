#!/usr/bin/env bash
# lwm2m-codec 0.1.1 (npm) cannot write a counter of 128 to 255, or of 32 768 to 65 535, nor a time from 2038 on.
#
# Guess: an integer of an LwM2M object is written in TLV with as many octets as it needs.
# Seen: integers in TLV are signed, and have 1, 2, 4 or 8 octets (OMA LwM2M 1.0, appendix C). The package takes the length of an
# unsigned integer, and writes a signed one into it: RangeError from half of each length on, and 256 works again. It reads 128 in
# two octets well. A time is an integer, and those from 2038 to 2106 are refused.
# It matters to whoever reports the IPSO object of a presence sensor (3302), which counts its changes (5501): after 127 changes
# the report fails.
set -euo pipefail
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
cd "$folder"
echo '{"private": true}' > package.json
npm install --silent --no-audit --no-fund --ignore-scripts lwm2m-codec@0.1.1
cat > run.js <<'JS'
const codec = require('lwm2m-codec');
const write = (value, path = '/3302/0/5501') => {
  try {
    return codec.encode('tlv', path, value).toString('hex');
  } catch (error) {
    return error.name;
  }
};
for (const value of [127, 128, 255, 256, 32767, 32768, 65535, 65536, 2 ** 31 - 1, 2 ** 31, 2 ** 32 - 1, 2 ** 32]) console.log(`${value}: ${write(value)}`);
let refused = 0;
for (let value = 0; value < 65536; value++) refused += write(value).endsWith('Error');
console.log(`${refused} of the counts to 65535 are refused`);
console.log(`current time (/3/0/13), 2037 ${write(Date.UTC(2037) / 1000, '/3/0/13')}, 2039 ${write(Date.UTC(2039) / 1000, '/3/0/13')}`);
console.log(`two octets 0080 are read as ${codec.decode('tlv', '/3302/0/5501', Buffer.from('e2157d0080', 'hex'))}`);
JS
echo "lwm2m-codec 0.1.1"
seen=$(node run.js)
echo "$seen"
expected='127: e1157d7f
128: RangeError
255: RangeError
256: e2157d0100
32767: e2157d7fff
32768: RangeError
65535: RangeError
65536: e4157d00010000
2147483647: e4157d7fffffff
2147483648: RangeError
4294967295: RangeError
4294967296: e8157d080000000100000000
32896 of the counts to 65535 are refused
current time (/3/0/13), 2037 c40d7e06e400, 2039 RangeError
two octets 0080 are read as 128'
[ "$seen" = "$expected" ] || { echo "the behaviour changed; it was: $expected" >&2; exit 1; }
