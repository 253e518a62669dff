#!/usr/bin/env bash
# talkback 4.2.0 replays other bytes than it recorded once it was started again.
#
# Guess: a recording proxy answers a replayed request with the bytes of the recorded answer, and matches a
# request by its bytes.
# Seen: JSON is stored as a JavaScript object, but the bytes stay in memory. After a restart the answer has
# other spaces, 21.0 became 21, and a large integer became another one. A request with {"x":1} gets the tape
# of {"x": 1.0} at any time.
# It matters to whoever records signed deliveries: the answer's signature header is replayed unchanged, so
# the check of a replayed body passes on the day of the recording and fails afterwards.
set -euo pipefail
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
cd "$folder"
echo '{"private": true}' > package.json
npm install --silent --no-audit --no-fund --ignore-scripts talkback@4.2.0
cat > run.cjs <<'JS'
const { createHmac } = require('node:crypto');
const http = require('node:http');
const net = require('node:net');
const talkback = require('talkback');
const mac = (body) => createHmac('sha512', 'secret').update(body).digest('base64');
const freePort = () => new Promise((done) => {
  const server = net.createServer().listen(0, '127.0.0.1', () => {
    const { port } = server.address();
    server.close(() => done(port));
  });
});
const post = (port, body) => new Promise((done, fail) => {
  const headers = { 'Content-Type': 'application/json', Connection: 'close' };
  const request = http.request({ host: '127.0.0.1', port, method: 'POST', headers }, (answer) => {
    let text = '';
    answer.on('data', (part) => { text += part; });
    answer.on('end', () => {
      const right = mac(text) === answer.headers['x-signature'];
      done(`${text.replaceAll(/\s+/g, ' ')} (signature ${right ? 'right' : 'wrong'}, asked ${asked} times)`);
    });
  });
  request.on('error', fail).end(body);
});
let asked = 0;
(async () => {
  const event = '{"id":9007199254740993,"t":21.0}';
  const origin = http.createServer((request, answer) => {
    asked += 1;
    request.resume().on('end', () => {
      answer.setHeader('Content-Type', 'application/json');
      answer.setHeader('X-Signature', mac(event));
      answer.end(event);
    });
  });
  await new Promise((done) => { origin.listen(0, '127.0.0.1', done); });
  const host = `http://127.0.0.1:${origin.address().port}`;
  const options = { host, path: './tapes', record: talkback.Options.RecordMode.NEW, silent: true };
  for (const start of ['first start', 'second start']) {
    const port = await freePort();
    const proxy = talkback({ ...options, port });
    await proxy.start();
    for (const body of ['{"x": 1.0}', '{"x":1}']) console.log(`${start}, ${body}: ${await post(port, body)}`);
    await proxy.close();
  }
  origin.close();
})();
JS
echo "talkback $(node -p 'require("talkback/package.json").version'), Node $(node --version)"
seen=$(node run.cjs)
echo "$seen"
expected='first start, {"x": 1.0}: {"id":9007199254740993,"t":21.0} (signature right, asked 1 times)
first start, {"x":1}: {"id":9007199254740993,"t":21.0} (signature right, asked 1 times)
second start, {"x": 1.0}: { "id": 9007199254740992, "t": 21 } (signature wrong, asked 1 times)
second start, {"x":1}: { "id": 9007199254740992, "t": 21 } (signature wrong, asked 1 times)'
[ "$seen" = "$expected" ] || { echo "the behaviour changed; it was: $expected" >&2; exit 1; }
