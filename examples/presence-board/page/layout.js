// The view, and the size of the tiles. On a wall display, the size is the largest at which all tiles fit the window.

import { byId } from './dom.js';
import { selection } from './selection.js';

// More tiles than this are compact, unless the URL selects a view. On a phone, floors with more in all are closed.
const MAX_CARDS = 100;
const PHONE = matchMedia('(max-width: 40rem)');
// The ways to fill a wall display, the best one first. Sizes are font sizes as parts of the height of the window.
const WALLS = [
  { tiles: 'cards', flow: 'rows', smallest: 1 / 62, largest: 1 / 24, grow: 1.7 },
  { tiles: 'compact', flow: 'columns', smallest: 1 / 125, largest: 1 / 36, grow: 1.5 },
];
const SMALLEST_PX = 8;
// Longer words than these are broken, instead of widening all tiles. In average letters, because fonts of the same size are
// not equally wide.
const MAX_WORD = { cards: 18, compact: 15.2 };

let measuredNames = '';
let fitted = ''; // what the sizes were computed for
let fits = false;

// Applies the view. `onFloor`: the number of workspaces on the selected floor; `visible`: of those that the filters leave.
export function layOut({ onFloor, visible, names }) {
  measure(names);
  const view = selection.view || (onFloor > MAX_CARDS ? 'compact' : 'cards');
  const floors = byId('floors');
  const isWhole = !selection.view && !selection.floor && !selection.search;
  const closed = isWhole && visible > MAX_CARDS && floors.childElementCount > 1 && PHONE.matches;
  const { dataset } = document.body;
  dataset.floors = closed ? 'closed' : 'open';
  if (dataset.view !== view) {
    dataset.view = view;
    fitted = '';
  }
  if (view === 'wall') {
    const { clientWidth, clientHeight } = floors.parentElement;
    // Not for each workspace that a filter adds or removes: finding the sizes takes many layouts.
    const roughly = Math.round(10 * Math.log(visible + 1));
    const wanted = [clientWidth, clientHeight, roughly, selection.floor, measuredNames].join();
    // More workspaces and longer times can need smaller tiles.
    if (wanted !== fitted || (fits && overflows(floors))) {
      fits = fit(floors);
      fitted = wanted;
    }
    labelColumns();
  } else {
    [dataset.tiles, dataset.flow] = [view, 'rows'];
    floors.style.fontSize = '';
    setGrow(1);
  }
  return closed ? '' : view;
}

// Returns whether all tiles fit. Otherwise the tiles have their smallest size, and the floors scroll.
function fit(floors) {
  const { dataset } = document.body;
  const fitsAt = (size) => {
    floors.style.fontSize = `${size}px`;
    return !overflows(floors);
  };
  const fitsGrown = (grow) => {
    setGrow(grow);
    return !overflows(floors);
  };
  for (const { tiles, flow, smallest, largest, grow } of WALLS) {
    [dataset.tiles, dataset.flow] = [tiles, flow];
    setGrow(1);
    const from = Math.max(SMALLEST_PX, smallest * innerHeight);
    if (!fitsAt(from)) continue;
    fitsAt(largestThat(fitsAt, from, largest * innerHeight, 0.2));
    // Higher tiles use the rest of the height.
    fitsGrown(largestThat(fitsGrown, 1, grow, 0.02));
    return true;
  }
  dataset.flow = 'rows';
  setGrow(1);
  return false;
}

// The largest value between `low`, which fits, and `high`.
function largestThat(isFit, low, high, precision) {
  while (high - low > precision) {
    const middle = (low + high) / 2;
    if (isFit(middle)) low = middle;
    else high = middle;
  }
  return low;
}

function overflows(floors) {
  return floors.scrollHeight > floors.clientHeight || floors.scrollWidth > floors.clientWidth;
}

function setGrow(grow) {
  document.documentElement.style.setProperty('--grow', grow);
}

// Repeats the name of a floor above a column in which it continues.
function labelColumns() {
  for (const section of byId('floors').children) {
    let left = null;
    for (const tile of section.querySelectorAll('.tile:not([hidden])')) {
      const own = tile.offsetLeft;
      if (left !== null && own !== left) tile.dataset.continues = section.querySelector('h2').textContent;
      else delete tile.dataset.continues;
      left = own;
    }
  }
}

// Widens the tiles for long words, because a name wraps between words only.
function measure(names) {
  const key = names.join('\n');
  if (key === measuredNames) return;
  measuredNames = key;
  const context = document.createElement('canvas').getContext('2d');
  context.font = `600 100px ${getComputedStyle(document.body).fontFamily}`;
  context.letterSpacing = '-1px';
  const width = (text) => context.measureText(text).width / 100;
  const letter = width('abcdefghijklmnopqrstuvwxyz') / 26;
  const longest = (view) => MAX_WORD[view] * letter;
  const words = names.flatMap((name) => name.split(/\s+/)).map(width);
  const widths = names.map(width).sort((a, b) => a - b);
  const median = widths[Math.floor(widths.length / 2)] ?? 0;
  const longestBelow = (limit) => Math.max(0, ...words.filter((word) => word <= limit));
  const usualName = Math.max(Math.min(median, longest('compact')), longestBelow(longest('compact')));
  const { style } = document.documentElement;
  style.setProperty('--word', `${longestBelow(longest('cards')).toFixed(2)}em`);
  style.setProperty('--name', `${usualName.toFixed(2)}em`);
}
