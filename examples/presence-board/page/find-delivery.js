// Finds deliveries by their event id or their workspace.

import { byId, cloneTemplate, setText } from './dom.js';
import { formatNumber, formatTime } from './time.js';
import { workspaceName } from './workspaces.js';

const MAX_FOUND = 100; // the server's limit

let latest = 0; // the number of the last search: an earlier one that answers later is not shown

export async function findDeliveries(text) {
  clearFound();
  if (text === '') return;
  const search = latest;
  let found;
  try {
    const response = await fetch(`api/deliveries?search=${encodeURIComponent(text)}`, { cache: 'no-store' });
    if (!response.ok) throw new Error(response.statusText);
    found = await response.json();
  } catch {
    if (search === latest) setText(byId('found-text'), 'The server does not answer. Try again.');
    return;
  }
  if (search !== latest) return;
  setText(byId('found-text'), found.length === 0
    ? 'Not among the latest 10 000 answered deliveries of this instance. The logs of the proxy and of the board go back further.'
    : `${formatNumber(found.length)} ${found.length === 1 ? 'delivery' : 'deliveries'} found, the newest first.${found.length < MAX_FOUND ? '' : ' There may be more.'}`);
  byId('found').hidden = found.length === 0;
  byId('found').replaceChildren(...found.map(foundItem));
}

export function clearFound() {
  latest += 1;
  setText(byId('found-text'), '');
  byId('found').hidden = true;
  byId('found').replaceChildren();
}

function foundItem(delivery) {
  const item = cloneTemplate('delivery-template');
  const { received_at: receivedAt, workspace, outcome, status, attempt, from, event } = delivery;
  item.dataset.outcome = status < 300 ? outcome : 'rejected';
  item.querySelector('time').dateTime = receivedAt;
  item.querySelector('time').textContent = formatTime(receivedAt);
  item.querySelector('.outcome').textContent = `${outcome}, answer ${status}`;
  item.querySelector('.description').textContent = [
    workspace && `\u2068${workspaceName(workspace)}\u2069`,
    `attempt ${formatNumber(attempt)}`,
    from && `from ${from}`,
    `event ${event}`,
  ].filter(Boolean).join(', ');
  return item;
}
