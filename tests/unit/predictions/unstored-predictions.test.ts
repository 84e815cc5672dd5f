import { expect, it } from "vitest";
import type { LoggedPrediction } from "../../../src/predictions/prediction-store.ts";
import { loggedPrediction } from "../../helpers/logged-prediction.ts";
import { UnstoredPredictions } from "../../../src/predictions/unstored-predictions.ts";

const row = (i: number, labels = 2): LoggedPrediction =>
  loggedPrediction(`id-${i}`, {
    atMs: i,
    probabilities: Object.fromEntries(Array.from({ length: labels }, (_, k) => [`label-${k}`, 1 / labels])),
    keyName: i % 2 === 0 ? "alice" : null,
  });

it("gives rows back in their order, a transaction at a time, until they are stored", () => {
  const unstored = new UnstoredPredictions();
  unstored.add(Array.from({ length: 300 }, (_, i) => row(i)));
  const first = unstored.next();
  expect([first.length, first[0]?.requestId, first.at(-1)?.requestId]).toEqual([256, "id-0", "id-255"]);
  expect(unstored.next()).toEqual(first);
  unstored.stored(first);
  expect(unstored.next().map(({ requestId }) => requestId)).toEqual(Array.from({ length: 44 }, (_, i) => `id-${256 + i}`));
  expect([unstored.keyOf("id-0"), unstored.keyOf("id-256"), unstored.keyOf("id-257")]).toEqual([undefined, "alice", null]);
});

it("keeps a bounded amount, loses the oldest, and still knows of each that it was there and whose it was", () => {
  const unstored = new UnstoredPredictions();
  // A thousand labels: some 34,000 characters a row, so that 8 MiB hold about 250.
  const rows = Array.from({ length: 1000 }, (_, i) => row(i, 1000));
  for (const each of rows) unstored.add([each]);
  const kept = 1000 - unstored.takeLostCount();
  expect(kept).toBeGreaterThan(200);
  expect(kept).toBeLessThan(300);
  expect(unstored.takeLostCount()).toBe(0);
  expect(unstored.next()[0]?.requestId).toBe(`id-${1000 - kept}`);
  expect([unstored.keyOf("id-0"), unstored.keyOf("id-1"), unstored.keyOf("id-1000")]).toEqual(["alice", null, undefined]);
});
