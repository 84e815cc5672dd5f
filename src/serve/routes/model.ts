import Type from "typebox";
import type { ServeApp, ServeContext } from "../context.ts";
import { ModelName, withErrors } from "../schemas.ts";

const Size = Type.Object({ width: Type.Integer(), height: Type.Integer() });

const Model = Type.Object({
  ...ModelName.properties,
  digest: Type.String({ description: "SHA-256 of the bundle's bundle.json." }),
  labels: Type.Array(Type.String()),
  preprocess: Type.Object({
    orient: Type.Boolean(),
    width: Type.Integer(),
    height: Type.Integer(),
    fit: Type.String(),
    kernel: Type.String(),
    crop: Type.Union([Type.Null(), Size]),
  }),
  abstain_below: Type.Union([Type.Null(), Type.Number()]),
  metrics: Type.Record(Type.String(), Type.Number(), { description: "As measured when the model was trained." }),
  data_version: Type.String(),
  params_hash: Type.String(),
  seed: Type.Integer(),
});

const Checks = Type.Object({
  passed: Type.Boolean(),
  checks: Type.Array(
    Type.Object({
      file: Type.String(),
      passed: Type.Boolean(),
      expected: Type.Array(Type.Number()),
      got: Type.Array(Type.Number()),
      difference: Type.Number({ description: "Largest difference of one probability." }),
      tolerance: Type.Number(),
    }),
  ),
});

/** GET /model: what answers. GET /model/checks: whether it still gives its known answers, tried now. */
export function registerModel(app: ServeApp, { model }: ServeContext): void {
  const { manifest, digest } = model.bundle;
  app.get("/model", { schema: { tags: ["model"], summary: "The model that answers", response: withErrors({ 200: Model }) } }, () => ({
    name: model.name,
    version: model.version,
    digest,
    labels: [...manifest.labels],
    preprocess: manifest.preprocess,
    abstain_below: manifest.abstainBelow,
    metrics: { ...manifest.metrics },
    data_version: manifest.dataVersion,
    params_hash: manifest.paramsHash,
    seed: manifest.seed,
  }));
  app.get(
    "/model/checks",
    { schema: { tags: ["model"], summary: "Run the model's known-answer images", response: withErrors({ 200: Checks }) } },
    async () => {
      const checks = await model.check();
      return {
        passed: checks.every(({ passed }) => passed),
        checks: checks.map((check) => ({ ...check, expected: [...check.expected], got: [...check.got] })),
      };
    },
  );
}
