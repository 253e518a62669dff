#!/usr/bin/env bash
# Aedes 1.2.0 sends a presence event with QoS 0 to a client that asked for QoS 1, and marks waiting events as retained.
#
# Guess: "the Server MUST deliver the message to the Client respecting the maximum QoS of all the matching subscriptions"
# (MQTT 3.1.1, 3.3.5), and sets the retain flag to 0 for an established subscription (3.3.1.3), also when the message
# waited for the client.
# Seen: with `#` at QoS 0 beside `rooms/+` at QoS 1 the event arrives with QoS 0, in either order. While the session is
# away, a retained publish is queued and then sent with the flag set; online it is not.
# It matters to whoever fans presence out by MQTT: a monitor's `#` takes the guarantee from the events beside it, and a
# client that skips retained messages as old state skips each change that it missed.
set -euo pipefail
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
cd "$folder"
echo '{"private": true, "type": "module"}' > package.json
npm install --silent --no-audit --no-fund --ignore-scripts aedes@1.2.0 mqtt@5.16.0
cat > run.js <<'JS'
import { Aedes } from 'aedes';
import mqtt from 'mqtt';
import { once } from 'node:events';
import { createServer } from 'node:net';

const broker = await Aedes.createBroker();
const server = createServer(broker.handle).listen(0, '127.0.0.1');
await once(server, 'listening');
const url = `mqtt://127.0.0.1:${server.address().port}`;
const publisher = await mqtt.connectAsync(url);

class Subscriber {
  constructor(clientId) {
    this.seen = [];
    this.done = new Promise(resolve => { this.resolve = resolve; });
    this.client = mqtt.connect(url, { clientId, clean: false, reconnectPeriod: 0 });
    this.client.on('message', (topic, payload, { qos, retain }) => {
      if (topic === 'end') this.resolve(); else this.seen.push(`${payload} with QoS ${qos}${retain ? ', retained' : ''}`);
    });
  }
}

const publish = async (payload, retain = false) => {
  await publisher.publishAsync('rooms/1', payload, { qos: 1, retain });
  await publisher.publishAsync('end', '', { qos: 1 });
};
for (const filters of [['rooms/+', '#'], ['#', 'rooms/+'], ['rooms/+']]) {
  const subscriber = new Subscriber(filters.join());
  await once(subscriber.client, 'connect');
  await subscriber.client.subscribeAsync('end', { qos: 1 });
  for (const filter of filters) await subscriber.client.subscribeAsync(filter, { qos: filter === '#' ? 0 : 1 });
  await publish('Busy');
  await subscriber.done;
  await subscriber.client.endAsync();
  console.log(`${filters.join(' and ')}: ${subscriber.seen.join('; ')}`);
}
const clientId = 'room display';
let subscriber = new Subscriber(clientId);
await once(subscriber.client, 'connect');
await subscriber.client.subscribeAsync(['end', 'rooms/+'], { qos: 1 });
await publish('Busy', true);
await subscriber.done;
console.log(`online: ${subscriber.seen.join('; ')}`);
await subscriber.client.endAsync();
await publish('Free', true);
await publish('Busy', true);
subscriber = new Subscriber(clientId);
await subscriber.done;
while (subscriber.seen.length < 2) await once(subscriber.client, 'message');
console.log(`back online: ${subscriber.seen.join('; ')}`);
process.exit();
JS
echo "aedes 1.2.0, mqtt 5.16.0"
seen=$(node run.js)
echo "$seen"
expected='rooms/+ and #: Busy with QoS 0
# and rooms/+: Busy with QoS 0
rooms/+: Busy with QoS 1
online: Busy with QoS 1
back online: Free with QoS 1, retained; Busy with QoS 1, retained'
[ "$seen" = "$expected" ] || { echo "the behaviour changed; it was: $expected" >&2; exit 1; }
