// Data from the server is only ever set with `textContent` and attributes that hold text, so that it cannot become markup.

export const byId = (id) => document.getElementById(id);

export function cloneTemplate(id) {
  return byId(id).content.firstElementChild.cloneNode(true);
}

// Setting the same text again would make a screen reader repeat it, and would cost a layout.
export function setText(element, text) {
  if (element.textContent !== text) element.textContent = text;
}
