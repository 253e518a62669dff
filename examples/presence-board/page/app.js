// What the server sends is text and stays text: it is set with textContent only.
'use strict';

const SHOWN = 50; // deliveries in the list
const SILENCE = 45_000; // milliseconds: three times what the server is silent at most
const ANNOUNCE = 8_000; // at most one spoken sentence in this time
const byId = (id) => document.getElementById(id);

const workspaces = new Map(); // id → { workspace, tile, floor }
const floors = new Map(); // name → { section, tiles }
let recent = []; // oldest first
let stats = null;
let skew = 0; // what the server's clock is ahead of ours
let paused = false;

// The connection. EventSource reconnects by itself after some failures and gives up after others; here it is one way
// for all of them.

let source = null;
let failures = 0;
let heard = Date.now();
let retry = 0;

function connect() {
  clearTimeout(retry);
  source?.close();
  source = new EventSource('/events');
  heard = Date.now();
  source.addEventListener('snapshot', (event) => {
    failures = 0;
    say('live', 'Live');
    snapshot(JSON.parse(event.data));
  });
  source.addEventListener('delivery', (event) => delivery(JSON.parse(event.data)));
  for (const kind of ['snapshot', 'delivery', 'alive']) {
    source.addEventListener(kind, () => { heard = Date.now(); });
  }
  source.addEventListener('error', lost);
}

function lost() {
  source.close();
    say('reconnecting', stats ? `Reconnecting… this is as of ${clock(heard)}` : 'Reconnecting…');
  const pause = Math.min(10_000, 1_000 * 2 ** failures) * (0.75 + Math.random() / 2);
  failures += 1;
  clearTimeout(retry);
  retry = setTimeout(connect, pause);
}

function say(state, text) {
  const connection = byId('connection');
  if (connection.textContent !== text) connection.textContent = text;
  connection.dataset.state = state;
  document.body.dataset.state = state;
}

function again() {
  if (source.readyState === EventSource.CLOSED && !document.hidden) connect();
}

// What comes.

function snapshot(all) {
  skew = Date.parse(all.now) - Date.now();
  const ids = new Set(all.workspaces.map((workspace) => workspace.id));
  for (const [id, known] of workspaces) {
    if (ids.has(id)) continue;
    known.tile.remove();
    workspaces.delete(id);
  }
  for (const workspace of all.workspaces) {
    // Moved to the end, each in its turn: the order is that of the names, which may have changed.
    const tile = place(workspace);
    tile.parentElement.append(tile);
    byId('floors').append(tile.closest('section'));
  }
  for (const [name, floor] of floors) {
    if (floor.list.childElementCount > 0) continue;
    floor.section.remove();
    floors.delete(name);
  }
  stats = all.stats;
  recent = all.recent;
  draw();
}

function delivery(news) {
  if (news.workspace) {
    const before = workspaces.get(news.workspace.id)?.workspace.status;
    const tile = place(news.workspace);
    if (before !== news.workspace.status) {
      tile.classList.remove('changed');
      void tile.offsetWidth; // lets the animation start anew
      tile.classList.add('changed');
      announce(news.workspace);
    }
  }
  stats = news.stats;
  if (recent.at(-1)?.number === news.seen.number) recent.pop();
  recent.push(news.seen);
  recent = recent.slice(-SHOWN);
  draw();
}

// Workspaces.

function name(id) {
  return workspaces.get(id)?.workspace.name ?? `Workspace ${id.slice(0, 8)}`;
}

function kind(workspace) {
  return { Free: 'free', Busy: 'busy' }[workspace.status] ?? 'none';
}

function words(workspace) {
  return workspace.status ?? 'No data yet';
}

function place(workspace) {
  let known = workspaces.get(workspace.id);
  if (!known) {
    known = { tile: copy('tile') };
    known.tile.dataset.workspace = workspace.id;
    workspaces.set(workspace.id, known);
  }
  known.workspace = workspace;
  const list = floor(workspace.floor ?? 'Other workspaces').list;
  if (known.tile.parentElement !== list) list.append(known.tile);
  known.tile.dataset.status = kind(workspace);
  known.tile.querySelector('h3').textContent = name(workspace.id);
  known.tile.querySelector('.status').textContent = words(workspace);
  const time = known.tile.querySelector('time');
  if (workspace.since) {
    time.dateTime = workspace.since;
    time.title = new Date(workspace.since).toLocaleString();
  }
  return known.tile;
}

function floor(title) {
  let known = floors.get(title);
  if (!known) {
    const section = copy('floor');
    const heading = section.querySelector('h2');
    heading.textContent = title;
    heading.id = `floor-${floors.size}-${Date.now()}`;
    section.setAttribute('aria-labelledby', heading.id);
    known = { section, list: section.querySelector('ul'), count: section.querySelector('p') };
    floors.set(title, known);
    byId('floors').append(section);
  }
  return known;
}

function copy(id) {
  return byId(id).content.firstElementChild.cloneNode(true);
}

// Drawing: once for all that came since the last frame. A hidden page gets no frames, and needs none.

let planned = false;

function draw() {
  if (planned) return;
  planned = true;
  requestAnimationFrame(() => {
    planned = false;
    drawSummary();
    drawStats();
    if (!paused) drawStream();
    drawTimes();
  });
}

function drawSummary() {
  const count = { free: 0, busy: 0, none: 0 };
  for (const { workspace } of workspaces.values()) count[kind(workspace)] += 1;
  byId('free').textContent = count.free;
  byId('all').textContent = workspaces.size;
  byId('empty').hidden = workspaces.size > 0;
  const bar = byId('bar');
  bar.setAttribute('aria-label', `${count.free} free, ${count.busy} busy, ${count.none} unknown`);
  [...bar.children].forEach((part, index) => { 
    part.style.flexGrow = Object.values(count)[index];
    part.hidden = Object.values(count)[index] === 0;
  });
  document.title = `${count.free} free · Presence`;
  for (const { list, count } of floors.values()) {
    const free = list.querySelectorAll('[data-status=free]').length;
    count.textContent = `${free} of ${list.childElementCount} free`;
  }
}

function drawStats() {
  for (const key of ['handled', 'duplicates', 'late', 'unknown']) {
    byId(key).textContent = stats[key].toLocaleString();
  }
  const reasons = Object.entries(stats.refused);
  byId('refused').textContent = reasons.reduce((sum, [, times]) => sum + times, 0).toLocaleString();
  byId('reasons').replaceChildren(...reasons.map(([reason, times]) => {
    const [row, term, value] = ['div', 'dt', 'dd'].map((tag) => document.createElement(tag));
    term.textContent = reason;
    value.textContent = times.toLocaleString();
    row.append(term, value);
    return row;
  }));
}

function drawStream() {
  byId('stream').replaceChildren(...recent.toReversed().map((seen) => {
    const entry = copy('entry');
    entry.dataset.kind = seen.kind;
    const time = entry.querySelector('time');
    time.dateTime = seen.at;
    time.textContent = clock(seen.at);
    entry.querySelector('.kind').textContent = seen.kind;
    entry.querySelector('.text').textContent = text(seen);
    return entry;
  }));
}

function text(seen) {
  const which = seen.workspace && name(seen.workspace);
  switch (seen.kind) {
    case 'changed': return `${which}: ${seen.detail}`;
    case 'late': return `${which} was ${seen.detail} at ${clock(seen.timestamp)}, not shown`;
    case 'duplicate': return which ? `${which}: ${seen.detail}, shown before` : 'handled before';
    case 'unknown': return `cannot be read: ${seen.detail}`;
    default: return seen.times > 1 ? `${seen.detail} × ${seen.times}` : seen.detail;
  }
}

function drawTimes() {
  const now = new Date(Date.now() + skew);
  byId('clock').dateTime = now.toISOString();
  byId('clock').textContent = now.toLocaleString('en-GB', { weekday: 'long', day: 'numeric', month: 'long', hour: '2-digit', minute: '2-digit' });
  for (const { workspace, tile } of workspaces.values()) {
    if (workspace.since) tile.querySelector('time').textContent = ago(workspace.since);
  }
}

function clock(timestamp) {
  return new Date(timestamp).toLocaleTimeString('en-GB');
}

function ago(timestamp) {
  const minutes = Math.floor((Date.now() + skew - Date.parse(timestamp)) / 60_000);
  if (minutes < 1) return 'just now';
  if (minutes < 60) return `${minutes} min`;
  const hours = Math.floor(minutes / 60);
  if (hours < 24) return minutes % 60 ? `${hours} h ${minutes % 60} min` : `${hours} h`;
  const days = Math.floor(hours / 24);
  return days === 1 ? '1 day' : `${days} days`;
}

// Spoken changes: the first at once, what follows within some seconds as one sentence.

let unspoken = new Map();
let speaking = 0;

function announce(workspace) {
  unspoken.set(workspace.id, workspace);
  if (!speaking) speak();
}

function speak() {
  const changes = [...unspoken.values()];
  unspoken = new Map();
  speaking = changes.length ? setTimeout(speak, ANNOUNCE) : 0;
  if (changes.length === 0) return;
  const last = changes.at(-1);
  byId('news').textContent = changes.length < 3
    ? changes.map((workspace) => `${name(workspace.id)}: ${words(workspace)}.`).join(' ')
    : `${changes.length} workspaces changed, last ${name(last.id)}: ${words(last)}.`;
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
  if (stats) draw();
});

window.addEventListener('online', again);
document.addEventListener('visibilitychange', again);
setInterval(() => {
  drawTimes();
  if (source.readyState !== EventSource.CLOSED && Date.now() - heard > SILENCE) lost();
}, 5_000);
connect();
