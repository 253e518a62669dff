// The counters and the list of deliveries.

import { renderDeadLetters } from './dead-letters.js';
import { byId, cloneTemplate, setText } from './dom.js';
import { formatNumber, formatTime, serverNow } from './time.js';
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
    setText(byId(key), formatNumber(stats[key]));
  }
  const { inbox } = stats;
  byId('inbox').hidden = !inbox;
  // While the inbox cannot be read, the list stays.
  if (inbox) renderDeadLetters(inbox.dead);
  if (inbox) {
    for (const name of ['waiting', 'running', 'dead']) {
      setText(byId(`inbox-${name}`), formatNumber(inbox[name]));
    }
    setText(byId('inbox-oldest'), `${formatNumber(inbox.oldest_seconds)} s`);
    byId('inbox-dead').classList.toggle('error', inbox.dead > 0);
  }
  const reasons = Object.entries(stats.rejected);
  setText(byId('rejected'), formatNumber(reasons.reduce((sum, [, count]) => sum + count, 0)));
  byId('reasons').replaceChildren(...reasons.map(([reason, count]) => {
    const [row, term, value] = ['div', 'dt', 'dd'].map((tag) => document.createElement(tag));
    term.textContent = reason;
    value.textContent = formatNumber(count);
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
  // Isolated, so that a name that is written from right to left does not move the words around it.
  const name = delivery.workspace && `\u2068${workspaceName(delivery.workspace)}\u2069`;
  switch (delivery.outcome) {
    case 'changed': return `${name}: ${detail}`;
    case 'late': return `${name} was ${detail} at ${formatTime(delivery.timestamp)}, not shown`;
    case 'duplicate': return name ? `${name}: ${detail}, already shown` : 'already handled';
    case 'unknown': return `unknown event: ${detail}`;
    default: return delivery.count > 1 ? `${detail} × ${formatNumber(delivery.count)}` : detail;
  }
}
