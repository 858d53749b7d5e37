// What the page shows, in the address after "#": a link to it shows the same, and Back goes back.

const listeners = new Set();

const read = () => new URLSearchParams(location.hash.slice(1));
let now = read();

export const get = (name, otherwise = "") => now.get(name) ?? otherwise;
export const list = (name) => get(name).split(",").filter(Boolean);
export const number = (name, otherwise) => (now.has(name) && isFinite(now.get(name)) ? Number(now.get(name)) : otherwise);

/** Empty values take a name out. `quietly`: no step for Back, as while zooming. */
export function set(values, { quietly = false } = {}) {
  const before = now.toString();
  for (const [name, value] of Object.entries(values)) {
    const text = Array.isArray(value) ? value.join(",") : String(value ?? "");
    if (text === "") now.delete(name);
    else now.set(name, text);
  }
  const after = now.toString();
  if (after === before) return;
  const address = `${location.pathname}#${after.replaceAll("%2C", ",")}`;
  if (quietly) history.replaceState(null, "", address);
  else history.pushState(null, "", address);
  tell();
}

export function onChange(listener) {
  listeners.add(listener);
}

function tell() {
  for (const listener of listeners) listener();
}

for (const event of ["popstate", "hashchange"]) {
  addEventListener(event, () => {
    now = read();
    tell();
  });
}
