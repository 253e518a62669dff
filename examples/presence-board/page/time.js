// Times, by the clock of the server: the clock of a display can be wrong.

// The language of the page, whatever the browser's is.
const LOCALE = 'en-GB';

let serverTime = Date.now();
let measuredAt = performance.now();

export function setServerTime(timestamp) {
  serverTime = Date.parse(timestamp);
  measuredAt = performance.now();
}

export function serverNow() {
  return serverTime + performance.now() - measuredAt;
}

export function formatNumber(number) {
  return number.toLocaleString(LOCALE);
}

// The time of day, after the date unless that is today.
export function formatTime(timestamp) {
  const [date, now] = [new Date(timestamp), new Date(serverNow())];
  const time = date.toLocaleTimeString(LOCALE);
  if (date.toDateString() === now.toDateString()) return time;
  const year = date.getFullYear() === now.getFullYear() ? undefined : 'numeric';
  return `${date.toLocaleDateString(LOCALE, { day: 'numeric', month: 'short', year })}, ${time}`;
}

export function formatDateTime(timestamp) {
  return new Date(timestamp).toLocaleString(LOCALE);
}

export function formatElapsed(timestamp) {
  const minutes = Math.floor((serverNow() - Date.parse(timestamp)) / 60_000);
  if (minutes < 1) return 'just now';
  if (minutes < 60) return `${minutes} min`;
  const hours = Math.floor(minutes / 60);
  if (hours < 24) return minutes % 60 ? `${hours} h ${minutes % 60} min` : `${hours} h`;
  const days = Math.floor(hours / 24);
  return days === 1 ? '1 day' : `${days} days`;
}

export function formatClock() {
  const format = { weekday: 'long', day: 'numeric', month: 'long', hour: '2-digit', minute: '2-digit' };
  return new Date(serverNow()).toLocaleString(LOCALE, format);
}
