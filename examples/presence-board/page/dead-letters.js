// The dead letters of the inbox, which can be retried and discarded.

import { announce } from './announcements.js';
import { byId, cloneTemplate, setText } from './dom.js';
import { formatNumber, formatTime } from './time.js';
import { workspaceName } from './workspaces.js';

let shownCount = 0; // the number of dead letters when the list was asked for

// Reads the list again when the number of dead letters has changed.
export function renderDeadLetters(count) {
  byId('dead-letters').hidden = count === 0;
  if (count === shownCount) return;
  shownCount = count;
  if (count > 0) load();
}

async function load() {
  try {
    const response = await fetch('api/dead-letters', { cache: 'no-store' });
    const letters = await response.json();
    byId('dead-letter-list').replaceChildren(...letters.map(letterItem));
    setText(byId('dead-letters-rest'), letters.length < shownCount ? `The oldest of ${formatNumber(shownCount)}.` : '');
  } catch {
    shownCount = 0; // tries again with the next numbers
  }
}

function letterItem(letter) {
  const item = cloneTemplate('dead-letter-template');
  const { event_type: type, workspace, status, received_at: receivedAt, attempts } = letter;
  const name = workspace ? `\u2068${workspaceName(workspace)}\u2069: ${status}` : type ?? 'unreadable event';
  item.querySelector('.outcome').textContent = name;
  item.querySelector('.error').textContent = letter.error ?? 'no error recorded';
  item.querySelector('.description').textContent =
    `${formatTime(receivedAt)}, ${attempts === 1 ? '1 attempt' : `${attempts} attempts`}, event ${letter.id}`;
  for (const button of item.querySelectorAll('button')) {
    button.setAttribute('aria-label', `${button.textContent} ${name}, event ${letter.id}`);
    button.addEventListener('click', () => change(button.dataset.action, letter, item));
  }
  return item;
}

async function change(action, { namespace, id }, item) {
  if (action === 'discard' && !confirm(`Discard event ${id}? It is not handled then.`)) return;
  const done = action === 'retry' ? 'The event is tried again.' : 'The event is discarded.';
  const sentences = { 204: done, 404: 'It is not a dead letter any more.' };
  let status = 0;
  try {
    const headers = { 'content-type': 'application/json' };
    const body = JSON.stringify({ namespace, id });
    ({ status } = await fetch(`api/dead-letters/${action}`, { method: 'POST', headers, body }));
  } catch { /* the server does not answer */ }
  if (status in sentences) {
    // The keyboard stays in the list.
    (item.nextElementSibling ?? item.previousElementSibling)?.querySelector('button').focus();
    item.remove();
  }
  const sentence = sentences[status] ?? 'The event could not be changed.';
  announce(sentence);
  setText(byId('dead-letters-rest'), sentence);
}
