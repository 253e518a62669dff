// The connection to the server. `EventSource` reconnects after some failures only; this code reconnects after all of them,
// and when the server is silent.

import { byId, setText } from './dom.js';
import { formatTime, serverNow, setServerTime } from './time.js';

// The server sends a heartbeat after 3 s without another message.
const SILENCE_TIMEOUT_MS = 8_000;
const CHECK_INTERVAL_MS = 500;
const RECONNECT_DELAY_MAX_MS = 10_000;
// After so many connections without a message in a row, the page also asks for the workspaces.
const SILENT_CONNECTIONS_MAX = 2;
const POLL_INTERVAL_MS = 5_000;

let handlers;
let source = null;
let failures = 0;
let silentConnections = 0; // in a row, without a message until the timeout
let isPolling = false;
let reconnectTimer = 0;
let storeUnavailableSince = null;
let lastDataAt = null; // the server's time of the last message, of any connection
let waitingSince = 0; // since the last message or the start of this attempt, by the monotonic clock

// Calls `handlers.snapshot` and `handlers.delivery` with each message, `handlers.workspaces` with a list that was asked for,
// and `handlers.state` when the state has changed.
export function start(messageHandlers) {
  handlers = messageHandlers;
  window.addEventListener('online', reconnectNow);
  document.addEventListener('visibilitychange', reconnectNow);
  // Browsers keep a page for the Back button, with its connection. A few such pages would use all connections to the server.
  window.addEventListener('pagehide', close);
  window.addEventListener('pageshow', (event) => event.persisted && connect());
  // A suspended server and a pulled cable raise no error event. Only the messages stop.
  setInterval(() => {
    if (source.readyState === EventSource.CLOSED || performance.now() - waitingSince <= SILENCE_TIMEOUT_MS) return;
    silentConnections += 1;
    reconnect();
    poll();
  }, CHECK_INTERVAL_MS);
  setInterval(poll, POLL_INTERVAL_MS);
  connect();
}

// The page came with this snapshot.
export function startFrom(snapshot) {
  setServerTime(snapshot.now);
  lastDataAt = serverNow();
  storeUnavailableSince = snapshot.stats.store_unavailable_since ?? null;
}

// "No data since 14:15:30", or `null` while data arrives and the store is available.
export function outage() {
  const { state } = document.body.dataset;
  if (state === 'store-unavailable') return `Store unavailable since ${formatTime(storeUnavailableSince)}`;
  if (state !== 'reconnecting') return null;
  return lastDataAt === null ? 'No connection to the server' : `No data since ${formatTime(lastDataAt)}`;
}

// Shows the state. The text changes at midnight, when it gets a date.
export function renderConnection() {
  const connection = byId('connection');
  const { state } = document.body.dataset;
  connection.dataset.state = state;
  const text = outage();
  const next = state === 'store-unavailable' ? 'Deliveries are rejected.' : 'Reconnecting…';
  const texts = { live: 'Live', polling: 'No live stream: updated every 5 s. Does a proxy buffer /events?' };
  setText(connection, text ? `${text}. ${next}` : texts[state] ?? 'Connecting…');
}

function close() {
  clearTimeout(reconnectTimer);
  source?.close();
}

function connect() {
  close();
  source = new EventSource('events');
  waitingSince = performance.now();
  for (const name of ['snapshot', 'delivery', 'heartbeat']) {
    source.addEventListener(name, (event) => receive(name, JSON.parse(event.data)));
  }
  source.addEventListener('error', reconnect);
}

function receive(name, message) {
  failures = 0;
  silentConnections = 0;
  waitingSince = performance.now();
  if (message.now) setServerTime(message.now);
  lastDataAt = serverNow();
  if (message.stats) storeUnavailableSince = message.stats.store_unavailable_since ?? null;
  handlers[name]?.(message);
  setState(storeUnavailableSince ? 'store-unavailable' : 'live');
}

// Waits one second, then twice as long after each failure. The random factor prevents that all displays reconnect at the
// same moment after a restart of the server.
function reconnect() {
  source.close();
  if (document.body.dataset.state !== 'polling') setState('reconnecting');
  const delay = Math.min(RECONNECT_DELAY_MAX_MS, 1_000 * 2 ** failures) * (0.75 + Math.random() / 2);
  failures += 1;
  clearTimeout(reconnectTimer);
  reconnectTimer = setTimeout(connect, delay);
}

// Behind a proxy that buffers the stream, connections open and stay silent, while other requests work.
async function poll() {
  if (silentConnections < SILENT_CONNECTIONS_MAX || isPolling) return;
  isPolling = true;
  try {
    const response = await fetch('api/presence', { cache: 'no-store' });
    const { workspaces } = await response.json();
    // The stream may have arrived in the meantime.
    if (silentConnections >= SILENT_CONNECTIONS_MAX) {
      setServerTime(response.headers.get('date') ?? new Date().toISOString());
      lastDataAt = serverNow();
      handlers.workspaces(workspaces);
      setState('polling');
    }
  } catch {
    if (silentConnections >= SILENT_CONNECTIONS_MAX) setState('reconnecting');
  }
  isPolling = false;
}

function reconnectNow() {
  if (source.readyState === EventSource.CLOSED && !document.hidden) connect();
}

function setState(state) {
  if (document.body.dataset.state === state) return;
  document.body.dataset.state = state;
  renderConnection();
  handlers.state();
}
