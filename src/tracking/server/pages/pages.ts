import type { TrackingApp, TrackingContext } from "../context.ts";

export function registerPages(_app: TrackingApp, _context: TrackingContext): void {}
