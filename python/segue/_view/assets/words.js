// Numbers, times and places in words, as the answers' own sentences say them. Times are nanoseconds since the recording began.

export const STATES = ["finished", "failed", "cancelled", "pending"];

export function duration(nanos) {
  const three = (value, unit) => `${value.toFixed(value < 9.995 ? 2 : value < 99.95 ? 1 : 0)} ${unit}`;
  if (nanos < 1000) return `${Math.round(nanos)} ns`;
  if (nanos < 999_500) return three(nanos / 1e3, "µs");
  if (nanos < 999_500_000) return three(nanos / 1e6, "ms");
  if (nanos < 119.5e9) return three(nanos / 1e9, "s");
  const seconds = Math.floor(nanos / 1e9);
  if (seconds < 7200) return `${Math.floor(seconds / 60)} min ${seconds % 60} s`;
  if (seconds < 172_800) return `${Math.floor(seconds / 3600)} h ${Math.floor(seconds / 60) % 60} min`;
  return `${Math.floor(seconds / 86_400)} d ${Math.floor(seconds / 3600) % 24} h`;
}

const grouped = new Intl.NumberFormat("en");
export const count = (number) => grouped.format(number);
export const counted = (number, one) => `${count(number)} ${one}${number === 1 ? "" : "s"}`;

/** When something was, to the microsecond: "1.204100 s". */
export const moment = (nanos) => `${(nanos / 1e9).toFixed(6)} s`;

/** A tick of an axis whose ticks are `step` apart. */
export function tick(nanos, step) {
  const [unit, name] = step >= 1e9 ? [1e9, "s"] : step >= 1e6 ? [1e6, "ms"] : step >= 1e3 ? [1e3, "µs"] : [1, "ns"];
  const decimals = Math.max(0, -Math.floor(Math.log10(step / unit) + 1e-9));
  return `${grouped.format(Number((nanos / unit).toFixed(decimals)))} ${name}`;
}

export const short = (place) => place?.short ?? (place ? `${place.file}:${place.line}` : "");

/** "3 failed, 12 cancelled"; of one task the word alone. */
export function outcomesSaid(outcomes) {
  const there = STATES.filter((name) => outcomes[name] > 0);
  const all = there.reduce((sum, name) => sum + outcomes[name], 0);
  return there.map((name) => (all === 1 ? name : `${count(outcomes[name])} ${name}`)).join(", ");
}
