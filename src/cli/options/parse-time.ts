import { ServalError } from "../../errors/serval-error.ts";

const unitMs = { d: 86_400_000, h: 3_600_000, m: 60_000 } as const;

/** `7d`, `12h`, `30m` before now, or a date or time of ISO 8601 (a date is midnight UTC). Throws E_USAGE. */
export function parseTime(flag: string, text: string, nowMs: number = Date.now()): Date {
  const ago = /^(\d{1,6})([dhm])$/.exec(text);
  if (ago !== null) return new Date(nowMs - Number(ago[1]) * unitMs[ago[2] as keyof typeof unitMs]);
  const time = /^\d{4}-\d\d-\d\d(?:T[\d:.]+(?:Z|[+-]\d\d:\d\d)?)?$/.test(text) ? new Date(text) : undefined;
  if (time !== undefined && !Number.isNaN(time.getTime())) return time;
  throw new ServalError(
    "E_USAGE",
    `${flag}: expected a value such as 7d, 12h, 2026-11-01 or 2026-11-01T08:00:00Z, got ${JSON.stringify(text)}.`,
  );
}
