// The workspaces: one tile for each, in one section for each floor.

import { announceChange } from './announcements.js';
import { byId, cloneTemplate, setText } from './dom.js';
import { select, selection } from './selection.js';
import { formatDateTime, formatElapsed, formatNumber } from './time.js';

const OTHER_FLOOR = 'Other workspaces';
// A `Map`, because an object would also find `constructor` and the other names of its prototype.
const statusClasses = new Map([['Free', 'free'], ['Busy', 'busy']]);

const entries = new Map(); // id → { workspace, tile, words }
const floors = new Map(); // title → { section, list, count }

export function setWorkspaces(workspaces) {
  const ids = new Set(workspaces.map((workspace) => workspace.id));
  for (const [id, { tile }] of entries) {
    if (ids.has(id)) continue;
    tile.remove();
    entries.delete(id);
  }
  for (const workspace of workspaces) {
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
}

export function updateWorkspace(workspace) {
  const previous = entries.get(workspace.id)?.workspace.status;
  const tile = updateTile(workspace);
  if (previous === workspace.status) return;
  tile.classList.remove('changed');
  void tile.offsetWidth; // forces a layout, which restarts the animation
  tile.classList.add('changed');
  announceChange(workspace.id, `${workspaceName(workspace.id)}: ${statusText(workspace)}.`);
}

export function workspaceName(id) {
  return entries.get(id)?.workspace.name ?? id.slice(0, 8);
}

export function workspaceNames() {
  return [...entries.keys()].map(workspaceName);
}

export function unnamedCount() {
  return [...entries.values()].filter(({ workspace }) => workspace.name === null).length;
}

export function floorTitles() {
  return [...floors.keys()];
}

// Hides the tiles that are not selected and the floors without a visible tile. Returns the number of tiles on the selected
// floor, the number of visible tiles, and the numbers by status on the selected floor and for the search.
export function renderSelection() {
  const { floor: onlyFloor, status, search } = selection;
  const terms = normalize(search).split(' ').filter(Boolean);
  const counts = { free: 0, busy: 0, other: 0 };
  let [onFloor, visible] = [0, 0];
  for (const { workspace, tile, words } of entries.values()) {
    const isOnFloor = !onlyFloor || floorOf(workspace) === onlyFloor;
    const inScope = isOnFloor && terms.every((term) => words.includes(term));
    if (isOnFloor) onFloor += 1;
    const own = tile.dataset.status;
    if (inScope) counts[own] += 1;
    tile.hidden = !inScope || (status !== '' && status !== own);
    if (!tile.hidden) visible += 1;
  }
  for (const { section, list, count } of floors.values()) {
    section.hidden = !list.querySelector('.tile:not([hidden])');
    const free = list.querySelectorAll('[data-status=free]').length;
    setText(count, `${formatNumber(free)} of ${formatNumber(list.childElementCount)} free`);
  }
  return { counts, onFloor, visible };
}

export function renderElapsedTimes() {
  for (const { workspace, tile } of entries.values()) {
    if (workspace.since) setText(tile.querySelector('time'), formatElapsed(workspace.since));
  }
}

function floorOf(workspace) {
  return workspace.floor ?? OTHER_FLOOR;
}

function statusText(workspace) {
  return workspace.status ?? 'No data yet';
}

// Lower case without accents and with narrow letters, so that "zurich 12" finds "Zürich １２".
function normalize(text) {
  return text.normalize('NFKD').replace(/\p{M}/gu, '').toLowerCase().replace(/\s+/g, ' ');
}

function updateTile(workspace) {
  let entry = entries.get(workspace.id);
  if (!entry) {
    entry = { tile: cloneTemplate('tile-template') };
    entry.tile.dataset.workspace = workspace.id;
    entries.set(workspace.id, entry);
  }
  entry.workspace = workspace;
  entry.words = normalize(`${workspaceName(workspace.id)} ${floorOf(workspace)}`);
  const { tile } = entry;
  const { list } = getFloor(floorOf(workspace));
  if (tile.parentElement !== list) list.append(tile);
  const status = statusClasses.get(workspace.status) ?? 'other';
  tile.dataset.status = status;
  tile.querySelector('use').setAttribute('href', `#icon-${status}`);
  setText(tile.querySelector('h3'), workspaceName(workspace.id));
  setText(tile.querySelector('.status'), statusText(workspace));
  const time = tile.querySelector('time');
  if (workspace.since) {
    tile.title = `${statusText(workspace)} since ${formatDateTime(workspace.since)}`;
    time.dateTime = workspace.since;
    // Not in the next frame: the tile would show the new status without its time until then.
    setText(time, formatElapsed(workspace.since));
  } else {
    // After a restart of a server that keeps no presence.
    tile.removeAttribute('title');
    time.removeAttribute('datetime');
    setText(time, '');
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
    const open = section.querySelector('button');
    open.setAttribute('aria-label', `Show ${title}`);
    open.addEventListener('click', () => {
      select({ floor: title });
      byId('workspaces').focus();
    });
    floor = { section, list: section.querySelector('ul'), count: section.querySelector('p') };
    floors.set(title, floor);
    byId('floors').append(section);
  }
  return floor;
}
