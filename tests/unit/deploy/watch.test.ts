import { expect, test } from "vitest";
import type { Counters } from "../../../src/deploy/counters.ts";
import { findFault } from "../../../src/deploy/watch.ts";

/** This number of requests, all of which took between `seconds` and the same again. */
function counters(requests: number, failed: number, seconds: number): Counters {
  return {
    requests,
    failed,
    durations: [
      [seconds, 0],
      [2 * seconds, requests],
      [Infinity, requests],
    ],
  };
}

test("a version that answers like the previous one passes, and so does one that received no requests", () => {
  expect(findFault(counters(100, 0, 0.02), counters(100, 0, 0.02), counters(900, 0, 0.02))).toBeNull();
  expect(findFault(counters(0, 0, 0.02), counters(0, 0, 0.02), null)).toBeNull();
  expect(findFault(counters(100, 0, 5), null, null)).toBeNull();
});

test("failures count from three on, and only where there are more than before", () => {
  const before = counters(100, 0, 0.02);
  expect(findFault(counters(10, 2, 0.02), before, null)).toBeNull();
  expect(findFault(counters(30, 3, 0.02), before, null)).toBe("3 of 30 requests failed (10.0 %); before 0.0 %");
  // A dependency of both is down, or the queue is full.
  expect(findFault(counters(30, 3, 0.02), counters(30, 3, 0.02), null)).toBeNull();
});

test("three times the median of the version beside it is too slow, where there were enough requests to tell", () => {
  const before = counters(100, 0, 0.02);
  expect(findFault(counters(100, 0, 0.05), before, before)).toBeNull();
  expect(findFault(counters(19, 0, 0.2), before, before)).toBeNull();
  expect(findFault(counters(20, 0, 0.2), before, before)).toBe(
    "half of 20 requests took longer than 300.0 ms; before 30.0 ms, expected at most 110.0 ms",
  );
});

test("slowness of both on a busy host is accepted; a version that slows down the one beside it is refused", () => {
  const before = counters(100, 0, 0.02);
  expect(findFault(counters(100, 0, 0.04), counters(100, 0, 0.04), before)).toBeNull();
  expect(findFault(counters(100, 0, 0.4), counters(100, 0, 0.4), before)).toContain("before 60.0 ms");
  // Alone there is nothing to compare with at the same time.
  expect(findFault(counters(100, 0, 0.1), null, before)).toBeNull();
  expect(findFault(counters(100, 0, 0.4), null, before)).toContain("expected at most 320.0 ms");
});
