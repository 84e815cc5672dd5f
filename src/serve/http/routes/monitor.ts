import Type, { type TSchema } from "typebox";
import { ServalError } from "../../../errors/serval-error.ts";
import { imageStatisticNames, verdicts } from "../../../monitor/drift.ts";
import type { ServeApp, ServeContext } from "../context.ts";
import { withErrors } from "../schemas.ts";

const Share = Type.Union([Type.Null(), Type.Number()]);
const Time = Type.Union([Type.Null(), Type.String({ description: "ISO 8601." })]);
const Compared = Type.Object({ window: Share, reference: Share });
const accuracy = { estimate: Type.Number(), low: Type.Number(), high: Type.Number() };

const Finding = Type.Object({
  what: Type.String({ description: "What changed: a statistic of the pictures, labels, confidence.", examples: ["sharpness"] }),
  severity: Type.Enum(["changed", "drift"]),
  text: Type.String({ examples: ["sharpness fell from 0.42 to 0.13"] }),
  test: Type.String({ examples: ["kolmogorov_smirnov"] }),
  statistic: Type.Number(),
  pValue: Type.Number(),
  adjustedPValue: Type.Number({ description: "After Holm's correction for the number of tests." }),
});

const Report: TSchema = Type.Object({
  model: Type.Object({ name: Type.String(), version: Type.String() }),
  window: Type.Object({ from: Time, to: Time, n: Type.Integer() }),
  drift: Type.Object({ verdict: Type.Enum([...verdicts]), findings: Type.Array(Finding) }),
  liveAccuracy: Type.Object({
    ...accuracy,
    estimate: Share,
    n: Type.Integer({ description: "Answers with feedback." }),
    feedbackShare: Share,
    alarm: Type.Boolean({ description: "Below the accuracy on the validation split beyond doubt." }),
    byLabel: Type.Record(Type.String(), Type.Object({ ...accuracy, n: Type.Integer() })),
  }),
  estimatedAccuracy: Type.Union([Type.Null(), Type.Object({ ...accuracy, trusted: Type.Boolean() })]),
  unknownShare: Share,
  abstainedShare: Share,
  inputs: Type.Object(Object.fromEntries(imageStatisticNames.map((name) => [name, Compared]))),
  labels: Type.Record(Type.String(), Compared),
  reference: Type.Union([
    Type.Null(),
    Type.Object({ version: Type.String(), accuracy: Type.Number(), low: Type.Number(), high: Type.Number() }),
  ]),
});

/** GET /monitor: how the model does on the last answers, as `serval monitor --json` prints it. */
export function registerMonitor(app: ServeApp, { monitor }: ServeContext): void {
  app.get(
    "/monitor",
    {
      schema: {
        tags: ["model"],
        summary: "Drift, live and estimated accuracy of the last answers",
        description: "Of the last 1,000 answers of the model that answers now, none older than 24 hours. At most a second old.",
        response: withErrors({ 200: Report }),
      },
    },
    async () => {
      if (monitor === undefined) throw new ServalError("E_PREDICTION_LOG", "This service stores no predictions.");
      return await monitor.report();
    },
  );
}
