// Data from the server is only ever set with textContent, so that it cannot become markup.
'use strict';

const MAX_DELIVERIES = 50;
const SILENCE_TIMEOUT_MS = 8_000; // more than twice the server's heartbeat interval
const RECONNECT_DELAY_MAX_MS = 10_000;
const ANNOUNCE_INTERVAL_MS = 8_000;
const byId = (id) => document.getElementById(id);

const workspaces = new Map(); // id → { workspace, tile }
const floors = new Map(); // title → { section, list, count }
let recent = []; // delivery records, oldest first
let stats = null;
let clockOffset = 0; // milliseconds: the server's clock minus this one
let paused = false;

// Connection. EventSource reconnects after some failures only; this code reconnects after all of them.

let source = null;
let failures = 0;
let lastMessageAt = Date.now();
let reconnectTimer = 0;

function connect() {
  clearTimeout(reconnectTimer);
  source?.close();
  source = new EventSource('/events');
  lastMessageAt = Date.now();
  source.addEventListener('snapshot', (event) => {
    failures = 0;
    showConnection('live', 'Live');
    applySnapshot(JSON.parse(event.data));
  });
  source.addEventListener('delivery', (event) => applyUpdate(JSON.parse(event.data)));
  for (const name of ['snapshot', 'delivery', 'heartbeat']) {
    source.addEventListener(name, () => { lastMessageAt = Date.now(); });
  }
  source.addEventListener('error', reconnect);
}

// Waits one second, then twice as long after each failure. The random factor prevents that all displays reconnect at
// the same moment after a restart of the server.
function reconnect() {
  source.close();
  showConnection('reconnecting', stats ? `Reconnecting… data as of ${formatTime(lastMessageAt)}` : 'Reconnecting…');
  const delay = Math.min(RECONNECT_DELAY_MAX_MS, 1_000 * 2 ** failures) * (0.75 + Math.random() / 2);
  failures += 1;
  clearTimeout(reconnectTimer);
  reconnectTimer = setTimeout(connect, delay);
}

function reconnectNow() {
  if (source.readyState === EventSource.CLOSED && !document.hidden) connect();
}

function showConnection(state, text) {
  const connection = byId('connection');
  // Setting the same text again would make a screen reader repeat it.
  if (connection.textContent !== text) connection.textContent = text;
  connection.dataset.state = state;
  document.body.dataset.state = state;
}

// Messages.

function applySnapshot(snapshot) {
  clockOffset = Date.parse(snapshot.now) - Date.now();
  const ids = new Set(snapshot.workspaces.map((workspace) => workspace.id));
  for (const [id, { tile }] of workspaces) {
    if (ids.has(id)) continue;
    tile.remove();
    workspaces.delete(id);
  }
  for (const workspace of snapshot.workspaces) {
    // Appending an existing element moves it: this restores the server's order, which a restart can change.
    const tile = updateTile(workspace);
    tile.parentElement.append(tile);
    byId('floors').append(tile.closest('section'));
  }
  for (const [title, floor] of floors) {
    if (floor.list.childElementCount > 0) continue;
    floor.section.remove();
    floors.delete(title);
  }
  stats = snapshot.stats;
  recent = snapshot.recent;
  scheduleRender();
}

function applyUpdate(update) {
  const { delivery, workspace } = update;
  if (workspace) {
    const previous = workspaces.get(workspace.id)?.workspace.status;
    const tile = updateTile(workspace);
    if (previous !== workspace.status) {
      tile.classList.remove('changed');
      void tile.offsetWidth; // forces a layout, which restarts the animation
      tile.classList.add('changed');
      announce(workspace);
    }
  }
  stats = update.stats;
  if (delivery) {
    // A record with the number of the last one replaces it.
    if (recent.at(-1)?.number === delivery.number) recent.pop();
    recent.push(delivery);
    recent = recent.slice(-MAX_DELIVERIES);
  }
  scheduleRender();
}

// Workspaces.

function workspaceName(id) {
  return workspaces.get(id)?.workspace.name ?? `Workspace ${id.slice(0, 8)}`;
}

// A `Map`, because an object would also find `constructor` and the other names of its prototype.
const statusClasses = new Map([['Free', 'free'], ['Busy', 'busy']]);

function statusClass(workspace) {
  return statusClasses.get(workspace.status) ?? 'unknown';
}

function statusText(workspace) {
  return workspace.status ?? 'No data yet';
}

function updateTile(workspace) {
  let entry = workspaces.get(workspace.id);
  if (!entry) {
    entry = { tile: cloneTemplate('tile-template') };
    entry.tile.dataset.workspace = workspace.id;
    workspaces.set(workspace.id, entry);
  }
  entry.workspace = workspace;
  const { tile } = entry;
  const { list } = getFloor(workspace.floor ?? 'Other workspaces');
  if (tile.parentElement !== list) list.append(tile);
  tile.dataset.status = statusClass(workspace);
  tile.querySelector('h3').textContent = workspaceName(workspace.id);
  tile.querySelector('.status').textContent = statusText(workspace);
  const time = tile.querySelector('time');
  if (workspace.since) {
    time.dateTime = workspace.since;
    time.title = new Date(workspace.since).toLocaleString();
    // Not in the next frame: the tile would show the new status without its time until then.
    time.textContent = formatElapsed(workspace.since);
  }
  return tile;
}

function getFloor(title) {
  let floor = floors.get(title);
  if (!floor) {
    const section = cloneTemplate('floor-template');
    const heading = section.querySelector('h2');
    heading.textContent = title;
    heading.id = `floor-${floors.size}-${Date.now()}`;
    section.setAttribute('aria-labelledby', heading.id);
    floor = { section, list: section.querySelector('ul'), count: section.querySelector('p') };
    floors.set(title, floor);
    byId('floors').append(section);
  }
  return floor;
}

function cloneTemplate(id) {
  return byId(id).content.firstElementChild.cloneNode(true);
}

// Rendering, at most once per animation frame. Browsers skip the frames of a hidden page.

let renderScheduled = false;

function scheduleRender() {
  if (renderScheduled) return;
  renderScheduled = true;
  requestAnimationFrame(() => {
    renderScheduled = false;
    renderSummary();
    renderStats();
    if (!paused) renderDeliveries();
    renderTimes();
  });
}

function renderSummary() {
  const counts = { free: 0, busy: 0, unknown: 0 };
  for (const { workspace } of workspaces.values()) counts[statusClass(workspace)] += 1;
  byId('free').textContent = counts.free;
  byId('total').textContent = workspaces.size;
  byId('empty').hidden = workspaces.size > 0;
  const bar = byId('bar');
  bar.setAttribute('aria-label', `${counts.free} free, ${counts.busy} busy, ${counts.unknown} unknown`);
  [...bar.children].forEach((part, index) => {
    const count = Object.values(counts)[index];
    part.style.flexGrow = count;
    part.hidden = count === 0;
  });
  document.title = `${counts.free} free · Presence`;
  for (const { list, count } of floors.values()) {
    const free = list.querySelectorAll('[data-status=free]').length;
    count.textContent = `${free} of ${list.childElementCount} free`;
  }
}

function renderStats() {
  for (const key of ['handled', 'duplicates', 'late', 'unknown']) {
    byId(key).textContent = stats[key].toLocaleString();
  }
  const { inbox } = stats;
  byId('inbox').hidden = !inbox;
  if (inbox) {
    for (const name of ['waiting', 'running', 'dead']) {
      byId(`inbox-${name}`).textContent = inbox[name].toLocaleString();
    }
    byId('inbox-oldest').textContent = `${inbox.oldest_seconds.toLocaleString()} s`;
    byId('inbox-dead').classList.toggle('error', inbox.dead > 0);
  }
  const reasons = Object.entries(stats.rejected);
  byId('rejected').textContent = reasons.reduce((sum, [, count]) => sum + count, 0).toLocaleString();
  byId('reasons').replaceChildren(...reasons.map(([reason, count]) => {
    const [row, term, value] = ['div', 'dt', 'dd'].map((tag) => document.createElement(tag));
    term.textContent = reason;
    value.textContent = count.toLocaleString();
    row.append(term, value);
    return row;
  }));
}

function renderDeliveries() {
  byId('deliveries').replaceChildren(...recent.toReversed().map((delivery) => {
    const item = cloneTemplate('delivery-template');
    item.dataset.outcome = delivery.outcome;
    const time = item.querySelector('time');
    time.dateTime = delivery.received_at;
    time.textContent = formatTime(delivery.received_at);
    item.querySelector('.outcome').textContent = delivery.outcome;
    item.querySelector('.description').textContent = describe(delivery);
    return item;
  }));
}

function describe(delivery) {
  const { detail } = delivery;
  const name = delivery.workspace && workspaceName(delivery.workspace);
  switch (delivery.outcome) {
    case 'changed': return `${name}: ${detail}`;
    case 'late': return `${name} was ${detail} at ${formatTime(delivery.timestamp)}, not shown`;
    case 'duplicate': return name ? `${name}: ${detail}, already shown` : 'already handled';
    case 'unknown': return `unknown event: ${detail}`;
    default: return delivery.count > 1 ? `${detail} × ${delivery.count}` : detail;
  }
}

function renderTimes() {
  const now = new Date(Date.now() + clockOffset);
  byId('clock').dateTime = now.toISOString();
  byId('clock').textContent = now.toLocaleString('en-GB', { weekday: 'long', day: 'numeric', month: 'long', hour: '2-digit', minute: '2-digit' });
  for (const { workspace, tile } of workspaces.values()) {
    if (workspace.since) tile.querySelector('time').textContent = formatElapsed(workspace.since);
  }
}

function formatTime(timestamp) {
  return new Date(timestamp).toLocaleTimeString('en-GB');
}

function formatElapsed(timestamp) {
  const minutes = Math.floor((Date.now() + clockOffset - Date.parse(timestamp)) / 60_000);
  if (minutes < 1) return 'just now';
  if (minutes < 60) return `${minutes} min`;
  const hours = Math.floor(minutes / 60);
  if (hours < 24) return minutes % 60 ? `${hours} h ${minutes % 60} min` : `${hours} h`;
  const days = Math.floor(hours / 24);
  return days === 1 ? '1 day' : `${days} days`;
}

// Announcements for screen readers: the first change at once, then the changes of each interval in one sentence.

let pendingAnnouncements = new Map(); // id → workspace
let announceTimer = 0;

function announce(workspace) {
  pendingAnnouncements.set(workspace.id, workspace);
  if (!announceTimer) flushAnnouncements();
}

function flushAnnouncements() {
  const changes = [...pendingAnnouncements.values()];
  pendingAnnouncements = new Map();
  announceTimer = changes.length ? setTimeout(flushAnnouncements, ANNOUNCE_INTERVAL_MS) : 0;
  if (changes.length === 0) return;
  const sentences = changes.map((workspace) => `${workspaceName(workspace.id)}: ${statusText(workspace)}.`);
  byId('announcement').textContent = changes.length < 3
    ? sentences.join(' ')
    : `${changes.length} workspaces changed. Latest: ${sentences.at(-1)}`;
}

// Controls.

for (const button of document.querySelectorAll('[data-show]:not(#floors)')) {
  button.addEventListener('click', () => {
    byId('floors').dataset.show = button.dataset.show;
    for (const other of button.parentElement.children) other.setAttribute('aria-pressed', other === button);
  });
}

byId('pause').addEventListener('click', () => {
  paused = !paused;
  byId('pause').setAttribute('aria-pressed', paused);
  if (stats) scheduleRender();
});

window.addEventListener('online', reconnectNow);
document.addEventListener('visibilitychange', reconnectNow);
// A broken connection, such as a pulled network cable, raises no error event. Only the messages stop.
setInterval(() => {
  renderTimes();
  if (source.readyState !== EventSource.CLOSED && Date.now() - lastMessageAt > SILENCE_TIMEOUT_MS) reconnect();
}, 1_000);
connect();
