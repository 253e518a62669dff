#!/usr/bin/env bash
# node-bacnet 0.2.4 and bacstack 0.0.1-beta.14 (npm) send a date a month too early; node-bacnet reads one a month too late.
#
# Guess: a BACnet client sets the clock of a controller to the time that it was given (timeSynchronization).
# Seen: both put JavaScript's number of the month on the wire, which is 0 for January; in BACnet January is 1 (ASHRAE 135,
# 20.2.12). 31 May is sent as 31 April, with the weekday of May, and 15 January in month 0. From another stack node-bacnet reads
# 31 May as 1 July, as June has no 31st. Among themselves nothing is seen. @bacnet-js/client 3.3.2, a fork, and bacpypes3
# 0.0.110 are right; the fork answers a date that does not exist with 1 January 1900.
# It matters to whoever takes presence or room schedules from building automation: schedules run by the date that was set.
set -euo pipefail
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
cd "$folder"
echo '{"private": true, "type": "module"}' > package.json
npm install --silent --no-audit --no-fund --ignore-scripts node-bacnet@0.2.4 bacstack@0.0.1-beta.14 @bacnet-js/client@3.3.2
python3 -m venv venv
venv/bin/pip install --quiet --disable-pip-version-check bacpypes3==0.0.110
cat > run.js <<'JS'
import { createSocket } from 'node:dgram';
import { execFileSync } from 'node:child_process';
import bacnetJs from '@bacnet-js/client';
import bacstack from 'bacstack';
import nodeBacnet from 'node-bacnet';

const clients = { 'node-bacnet': nodeBacnet, bacstack, '@bacnet-js/client': bacnetJs.default ?? bacnetJs };
const probe = createSocket('udp4').bind(0, '127.0.0.1');
await new Promise(resolve => probe.once('listening', resolve));
const { port } = probe.address();
probe.close();
const text = time => `${time.getFullYear()}-${String(time.getMonth() + 1).padStart(2, '0')}-${String(time.getDate()).padStart(2, '0')}`;

for (const [sender, Sender] of Object.entries(clients)) {
  const receiver = sender === 'bacstack' ? '127.0.0.3' : { address: `127.0.0.3:${port}` };
  for (const day of [new Date(2026, 0, 15, 10), new Date(2026, 4, 31, 10)]) {
    const seen = [];
    const from = new Sender({ port, interface: '127.0.0.2' });
    for (const name of ['node-bacnet', '@bacnet-js/client']) {
      const to = new clients[name]({ port, interface: '127.0.0.3' });
      await new Promise(resolve => setTimeout(resolve, 200));
      const event = new Promise(resolve => to.once('timeSync', resolve));
      from.timeSync(receiver, day);
      seen.push(`${name} ${text((await event).payload.value)}`);
      to.close();
      await new Promise(resolve => setTimeout(resolve, 200));
    }
    const socket = createSocket('udp4').bind(port, '127.0.0.3');
    const packet = new Promise(resolve => socket.once('message', resolve));
    await new Promise(resolve => socket.once('listening', resolve));
    from.timeSync(receiver, day);
    // After the headers (6 octets) and the choice of service (2), a date is the tag a4 and four octets.
    const octets = (await packet).subarray(9, 13).toString('hex');
    socket.close();
    from.close();
    console.log(`${text(day)} from ${sender}: ${seen.join(', ')}, bacpypes3 ${execFileSync('venv/bin/python', ['run.py', octets]).toString().trim()}`);
  }
}
process.exit();
JS
cat > run.py <<'PY'
import sys
from bacpypes3.primitivedata import Date

print(Date(tuple(bytes.fromhex(sys.argv[1]))))
PY
echo "node-bacnet 0.2.4, bacstack 0.0.1-beta.14, @bacnet-js/client 3.3.2, bacpypes3 0.0.110"
seen=$(node run.js)
echo "$seen"
expected='2026-01-15 from node-bacnet: node-bacnet 2026-01-15, @bacnet-js/client 1900-01-01, bacpypes3 2026-0-15 thu
2026-05-31 from node-bacnet: node-bacnet 2026-05-31, @bacnet-js/client 1900-01-01, bacpypes3 2026-4-31 sun
2026-01-15 from bacstack: node-bacnet 2026-01-15, @bacnet-js/client 1900-01-01, bacpypes3 2026-0-15 thu
2026-05-31 from bacstack: node-bacnet 2026-05-31, @bacnet-js/client 1900-01-01, bacpypes3 2026-4-31 sun
2026-01-15 from @bacnet-js/client: node-bacnet 2026-02-15, @bacnet-js/client 2026-01-15, bacpypes3 2026-1-15 thu
2026-05-31 from @bacnet-js/client: node-bacnet 2026-07-01, @bacnet-js/client 2026-05-31, bacpypes3 2026-5-31 sun'
[ "$seen" = "$expected" ] || { echo "the behaviour changed; it was: $expected" >&2; exit 1; }
