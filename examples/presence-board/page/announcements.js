// Announcements for screen readers: the first change at once, then the changes of each interval in one sentence.

import { byId } from './dom.js';

const INTERVAL_MS = 8_000;

let pending = new Map(); // id → sentence
let timer = 0;

export function announceChange(id, sentence) {
  pending.set(id, sentence);
  if (!timer) flush();
}

function flush() {
  const sentences = [...pending.values()];
  pending = new Map();
  timer = sentences.length ? setTimeout(flush, INTERVAL_MS) : 0;
  if (sentences.length === 0) return;
  byId('announcement').textContent =
    sentences.length < 3 ? sentences.join(' ') : `${sentences.length} workspaces changed. Latest: ${sentences.at(-1)}`;
}

// The answer to something that the user did.
export function announce(sentence) {
  byId('announcement').textContent = sentence;
}
