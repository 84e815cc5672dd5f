/** A metric's value in as many digits as a table has room for. */
export function showNumber(value: number | "NaN" | undefined): string {
  if (value === undefined) return "";
  if (value === "NaN") return "NaN";
  // What MLflow keeps in place of an infinity.
  if (Math.abs(value) === Number.MAX_VALUE) return value > 0 ? "∞" : "-∞";
  if (Number.isInteger(value) && Math.abs(value) < 1e15) return String(value);
  const size = Math.abs(value);
  return size >= 1e-4 && size < 1e6 ? String(Number(value.toPrecision(5))) : value.toExponential(3);
}

/** Milliseconds from 1970 that a date may have (ECMA-262, 21.4.1.1). */
const latestTime = 8.64e15;

/** `2026-11-24 23:45`, in UTC as everybody reads it. */
export function showTime(ms: number | undefined): string {
  if (ms === undefined || ms === 0 || Math.abs(ms) > latestTime) return "";
  return new Date(ms).toISOString().slice(0, 16).replace("T", " ");
}

export function showDuration(start: number, end: number | undefined): string {
  if (end === undefined || start === 0) return "";
  const seconds = Math.max(0, end - start) / 1000;
  if (seconds < 60) return `${seconds.toFixed(1)} s`;
  if (seconds < 3600) return `${Math.floor(seconds / 60)} min ${Math.round(seconds % 60)} s`;
  return `${Math.floor(seconds / 3600)} h ${Math.floor((seconds % 3600) / 60)} min`;
}

export function showSize(bytes: number): string {
  if (bytes < 1000) return `${bytes} B`;
  if (bytes < 1e6) return `${(bytes / 1e3).toFixed(1)} kB`;
  return `${(bytes / 1e6).toFixed(1)} MB`;
}
