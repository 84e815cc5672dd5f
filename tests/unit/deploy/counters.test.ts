import { expect, test } from "vitest";
import { countersBetween, medianSeconds, parseCounters } from "../../../src/deploy/counters.ts";
import { createServiceMetrics } from "../../../src/monitor/metrics.ts";

/** The metrics of a service that answered predictions in these seconds, with these statuses. */
async function metricsOf(...answers: readonly (readonly [status: number, seconds: number])[]): Promise<string> {
  const metrics = createServiceMetrics({ queueDepth: () => 0 });
  metrics.countRequest({ route: "/metrics", method: "GET", status: 200, seconds: 9 });
  for (const [status, seconds] of answers) metrics.countRequest({ route: "/predict", method: "POST", status, seconds });
  return await metrics.render();
}

test("requests, failures and the median are read from what the service itself says, without what monitors ask", async () => {
  const counters = parseCounters(await metricsOf([200, 0.02], [200, 0.02], [415, 0.02], [500, 0.02], [503, 4]));
  expect(counters).toMatchObject({ requests: 5, failed: 2 });
  // The third of five lies in the bucket from 10 to 25 ms, with 2.5 of its four below.
  expect(medianSeconds(counters)).toBeCloseTo(0.01 + 0.015 * (2.5 / 4), 6);
  expect(medianSeconds(parseCounters(""))).toBeNull();
  expect(medianSeconds(parseCounters(await metricsOf([200, 60])))).toBe(10);
});

test("between two looks only the new ones count, and all of them where the service was restarted", async () => {
  const earlier = parseCounters(await metricsOf([200, 0.3], [500, 0.3]));
  const later = parseCounters(await metricsOf([200, 0.3], [500, 0.3], [200, 0.004]));
  expect(countersBetween(earlier, later)).toMatchObject({ requests: 1, failed: 0 });
  expect(medianSeconds(countersBetween(earlier, later))).toBeCloseTo(0.0025, 6);
  expect(countersBetween(later, earlier)).toEqual(earlier);
  expect(countersBetween(null, later)).toEqual(later);
});
