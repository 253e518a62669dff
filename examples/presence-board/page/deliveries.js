// The counters and the list of deliveries.

import { byId, cloneTemplate, setText } from './dom.js';
import { formatTime, serverNow } from './time.js';
import { workspaceName } from './workspaces.js';

const MAX_DELIVERIES = 50;

let recent = []; // delivery records, oldest first
let shown = []; // the records of the list, which a pause keeps
let shownDay = ''; // the list is drawn again after midnight, because its times then need a date
let stats = null;
let paused = false;

export function setDeliveries(snapshot) {
  stats = snapshot.stats;
  recent = snapshot.recent;
}

export function addDelivery(update) {
  stats = update.stats;
  if (!update.delivery) return;
  // A record with the number of the last one replaces it.
  if (recent.at(-1)?.number === update.delivery.number) recent = recent.slice(0, -1);
  recent = [...recent, update.delivery].slice(-MAX_DELIVERIES);
}

export function togglePause() {
  paused = !paused;
  byId('pause').setAttribute('aria-pressed', paused);
}

export function renderDeliveries() {
  renderLastDelivery();
  const day = new Date(serverNow()).toDateString();
  const next = paused ? shown : recent;
  if (stats) renderStats();
  if (next === shown && day === shownDay) return;
  [shown, shownDay] = [next, day];
  byId('deliveries').replaceChildren(...[...shown].reverse().map(deliveryItem));
}

function renderLastDelivery() {
  const at = stats?.last_delivery_at;
  setText(byId('last-delivery-label'), at ? 'Last delivery' : 'No delivery yet');
  const time = byId('last-delivery');
  time.dateTime = at ?? '';
  setText(time, at ? formatTime(at) : '');
}

function renderStats() {
  for (const key of ['handled', 'duplicates', 'late', 'unknown']) {
    setText(byId(key), stats[key].toLocaleString());
  }
  const { inbox } = stats;
  byId('inbox').hidden = !inbox;
  if (inbox) {
    for (const name of ['waiting', 'running', 'dead']) {
      setText(byId(`inbox-${name}`), inbox[name].toLocaleString());
    }
    setText(byId('inbox-oldest'), `${inbox.oldest_seconds.toLocaleString()} s`);
    byId('inbox-dead').classList.toggle('error', inbox.dead > 0);
  }
  const reasons = Object.entries(stats.rejected);
  setText(byId('rejected'), reasons.reduce((sum, [, count]) => sum + count, 0).toLocaleString());
  byId('reasons').replaceChildren(...reasons.map(([reason, count]) => {
    const [row, term, value] = ['div', 'dt', 'dd'].map((tag) => document.createElement(tag));
    term.textContent = reason;
    value.textContent = count.toLocaleString();
    row.append(term, value);
    return row;
  }));
}

function deliveryItem(delivery) {
  const item = cloneTemplate('delivery-template');
  item.dataset.outcome = delivery.outcome;
  const time = item.querySelector('time');
  time.dateTime = delivery.received_at;
  time.textContent = formatTime(delivery.received_at);
  item.querySelector('.outcome').textContent = delivery.outcome;
  item.querySelector('.description').textContent = describe(delivery);
  return item;
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
