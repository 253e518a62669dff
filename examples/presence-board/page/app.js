// Connects the parts of the page.

import { announce } from './announcements.js';
import { outage, renderConnection, start, startFrom } from './connection.js';
import { addDelivery, renderDeliveries, setDeliveries, togglePause } from './deliveries.js';
import { byId, setText } from './dom.js';
import { clearFound, findDeliveries } from './find-delivery.js';
import { layOut } from './layout.js';
import { onSelection, select, selection } from './selection.js';
import { formatClock, formatNumber, serverNow } from './time.js';
import {
  floorTitles, renderElapsedTimes, renderSelection, setWorkspaces, unnamedCount, updateWorkspace, workspaceNames,
} from './workspaces.js';

const RENDER_INTERVAL_MS = 5_000; // for the clock and the elapsed times
let hasData = false;
let renderTimer = 0;

// Not in an animation frame: browsers skip those of a hidden page, whose title must still change.
function scheduleRender() {
  renderTimer ||= setTimeout(render, 16);
}

function render() {
  clearTimeout(renderTimer);
  renderTimer = 0;
  renderConnection();
  byId('clock').dateTime = new Date(serverNow()).toISOString();
  setText(byId('clock'), formatClock());
  if (hasData) {
    renderControls();
    renderElapsedTimes();
    renderDeliveries();
    renderWorkspaces();
  }
  renderTitle();
}

function renderWorkspaces() {
  const { counts, onFloor, visible } = renderSelection();
  const total = counts.free + counts.busy + counts.other;
  setText(byId('free'), formatNumber(counts.free));
  setText(byId('total'), formatNumber(total));
  const { floor, search } = selection;
  setText(byId('scope'), [floor, search && `“${search}”`].filter(Boolean).map((text) => `\u2068${text}\u2069`).join(' · '));
  for (const [name, count] of Object.entries({ all: total, ...counts })) {
    setText(byId(`count-${name}`), formatNumber(count));
  }
  renderBar(counts);
  const [names, unnamed] = [workspaceNames(), unnamedCount()];
  byId('unnamed').hidden = unnamed === 0;
  setText(byId('unnamed-count'), unnamed === 1 ? '1 workspace has no name.' : `${formatNumber(unnamed)} workspaces have no name.`);
  byId('empty').hidden = visible > 0;
  byId('show-all').hidden = names.length === 0;
  setText(byId('empty-text'), names.length > 0
    ? 'No workspace matches the selection.'
    : 'No workspaces yet. A workspace appears with its first event.');
  const view = layOut({ onFloor, visible, names });
  for (const button of document.querySelectorAll('[data-set-view]')) {
    button.setAttribute('aria-pressed', button.dataset.setView === view);
  }
}

function renderBar(counts) {
  const bar = byId('bar');
  bar.setAttribute('aria-label', `${counts.free} free, ${counts.busy} busy, ${counts.other} other`);
  [...bar.children].forEach((part, index) => {
    const count = Object.values(counts)[index];
    part.style.flexGrow = count;
    part.hidden = count === 0;
  });
}

function renderControls() {
  for (const button of document.querySelectorAll('[data-set-status]')) {
    button.setAttribute('aria-pressed', button.dataset.setStatus === selection.status);
  }
  const floor = byId('floor');
  const titles = floorTitles();
  // A floor from the URL can be without workspaces.
  if (selection.floor && !titles.includes(selection.floor)) titles.push(selection.floor);
  const options = [...floor.options].slice(1).map((option) => option.value);
  if (options.join('\n') !== titles.join('\n')) {
    floor.replaceChildren(floor.options[0], ...titles.map((title) => new Option(title, title)));
  }
  floor.value = selection.floor;
  const search = byId('search');
  // The text keeps the spaces that the user types.
  if (search.value.trim() !== selection.search) search.value = selection.search;
}

function renderTitle() {
  const place = selection.floor || 'Presence';
  const text = outage();
  if (text) document.title = `⚠ ${text} · ${place}`;
  else if (hasData) document.title = `${byId('free').textContent} free · ${place}`;
}

// Controls.

for (const button of document.querySelectorAll('[data-set-status]')) {
  button.addEventListener('click', () => select({ status: button.dataset.setStatus }));
}
for (const button of document.querySelectorAll('[data-set-view]')) {
  button.addEventListener('click', () => select({ view: button.dataset.setView }));
}
byId('floor').addEventListener('change', () => select({ floor: byId('floor').value }));
byId('search').addEventListener('input', () => {
  const search = byId('search').value.trim();
  // One step back clears the search, however many letters it has.
  select({ search }, { replace: search !== '' && selection.search !== '' });
});
document.querySelector('.find').addEventListener('submit', (event) => event.preventDefault());
byId('show-all').addEventListener('click', () => {
  select({ floor: '', status: '', search: '' });
  byId('workspaces').focus();
});
byId('pause').addEventListener('click', () => {
  togglePause();
  render();
});
document.querySelector('.find-delivery').addEventListener('submit', (event) => {
  event.preventDefault();
  findDeliveries(byId('find-delivery').value.trim());
});
byId('find-delivery').addEventListener('input', () => {
  if (byId('find-delivery').value.trim() === '') clearFound();
});
onSelection(() => {
  render();
  const shown = document.querySelectorAll('.tile:not([hidden])').length;
  announce(shown === 1 ? '1 workspace shown.' : `${shown} workspaces shown.`);
});

window.addEventListener('resize', scheduleRender);
// The banner of a lost connection changes the height.
new ResizeObserver(scheduleRender).observe(byId('floors').parentElement);
document.fonts.ready.then(scheduleRender);
setInterval(render, RENDER_INTERVAL_MS);

function showSnapshot(message) {
  hasData = true;
  setWorkspaces(message.workspaces);
  setDeliveries(message);
  byId('simulated').hidden = !message.simulated;
  scheduleRender();
}

// The page comes with a snapshot, so that it shows the building before the stream of changes is open.
const initial = byId('snapshot').textContent;
if (initial) {
  const snapshot = JSON.parse(initial);
  startFrom(snapshot);
  showSnapshot(snapshot);
}

start({
  snapshot: showSnapshot,
  workspaces: (workspaces) => {
    hasData = true;
    setWorkspaces(workspaces);
    scheduleRender();
  },
  delivery: (message) => {
    if (message.workspace) updateWorkspace(message.workspace);
    addDelivery(message);
    scheduleRender();
  },
  state: render,
});
