// What the page shows: view, floor, status and search. The URL contains all of it, so that a reload, a shared link and the
// Back button work.

const VIEWS = ['cards', 'compact', 'wall'];
const STATUSES = ['free', 'busy', 'other'];
const listeners = [];

// Empty text: the default. For `view` that depends on the number of workspaces.
export let selection = read();

function read() {
  const parameters = new URLSearchParams(location.search);
  const get = (name) => parameters.get(name)?.trim() ?? '';
  const known = (name, values) => (values.includes(get(name)) ? get(name) : '');
  return { view: known('view', VIEWS), floor: get('floor'), status: known('status', STATUSES), search: get('search') };
}

export function onSelection(listener) {
  listeners.push(listener);
}

// Changes the selection and the URL. With `replace`, the Back button does not return to the previous selection.
export function select(changes, { replace = false } = {}) {
  const next = { ...selection, ...changes };
  if (Object.keys(next).every((name) => next[name] === selection[name])) return;
  // Other parameters stay.
  const url = new URL(location);
  for (const [name, value] of Object.entries(next)) {
    url.searchParams.delete(name);
    if (value) url.searchParams.set(name, value);
  }
  history[replace ? 'replaceState' : 'pushState'](null, '', url);
  selection = next;
  for (const listener of listeners) listener();
}

window.addEventListener('popstate', () => {
  selection = read();
  for (const listener of listeners) listener();
});
