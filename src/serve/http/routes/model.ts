import Type from "typebox";
import { ERRORS } from "../../../errors/error-table.ts";
import type { ServeApp, ServeContext } from "../context.ts";
import type { ModelSlot, Refusal } from "../../model/model-slot.ts";
import { ModelName, withErrors } from "../schemas.ts";

const Size = Type.Object({ width: Type.Integer(), height: Type.Integer() });
const OtherVersion = Type.Union([Type.Null(), ModelName]);

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
  abstain_below: Type.Union([Type.Null(), Type.Number()], {
    description:
      "Confidence below which the model abstains when asked to; null where no threshold was reliable enough: then it never abstains.",
  }),
  unknown_above: Type.Union([Type.Null(), Type.Number()], {
    description: "Outlier score above which a picture is an unknown input; null where the bundle has no score.",
  }),
  metrics: Type.Record(Type.String(), Type.Number(), { description: "As measured when the model was trained." }),
  data_version: Type.String(),
  params_hash: Type.String(),
  seed: Type.Integer(),
  previous: OtherVersion,
  pinned_against: OtherVersion,
  refused: Type.Union([Type.Null(), Type.Object({ ...ModelName.properties, code: Type.String(), message: Type.String() })]),
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

const Slot = Type.Object({ model: ModelName, previous: OtherVersion, pinned_against: OtherVersion });

function describeSlot({ current, previous, pinnedAgainst }: ModelSlot) {
  return { model: { name: current.name, version: current.version }, previous, pinned_against: pinnedAgainst };
}

/** What went wrong in general; the log has the particulars, which may name files of the server. */
function describeRefusal({ name, version, code }: Refusal) {
  return { name, version, code, message: ERRORS[code].title };
}

/**
 * GET /model: what answers. GET /model/checks: whether it still gives its known answers, tried now. POST /model/rollback:
 * the previous version, until another one is released or DELETE /model/pin.
 */
export function registerModel(app: ServeApp, { slot }: ServeContext): void {
  app.get("/model", { schema: { tags: ["model"], summary: "The model that answers", response: withErrors({ 200: Model }) } }, () => {
    const { name, version, bundle, space } = slot.current;
    const { manifest, digest } = bundle;
    return {
      name,
      version,
      digest,
      labels: [...manifest.labels],
      preprocess: manifest.preprocess,
      abstain_below: manifest.abstainBelow,
      unknown_above: space?.outliers?.threshold ?? null,
      metrics: { ...manifest.metrics },
      data_version: manifest.dataVersion,
      params_hash: manifest.paramsHash,
      seed: manifest.seed,
      previous: slot.previous,
      pinned_against: slot.pinnedAgainst,
      refused: slot.refused && describeRefusal(slot.refused),
    };
  });
  app.get(
    "/model/checks",
    { schema: { tags: ["model"], summary: "Run the model's known-answer images", response: withErrors({ 200: Checks }) } },
    async () => {
      const checks = await slot.current.check();
      return {
        passed: checks.every(({ passed }) => passed),
        checks: checks.map((check) => ({ ...check, expected: [...check.expected], got: [...check.got] })),
      };
    },
  );
  app.post(
    "/model/rollback",
    {
      config: { changesModel: true },
      schema: {
        tags: ["model"],
        summary: "Go back to the previous version",
        description: "The current version is not served again until a different one is released, or until DELETE /model/pin.",
        response: withErrors({ 200: Slot }),
      },
    },
    async () => {
      await slot.rollback();
      return describeSlot(slot);
    },
  );
  app.delete(
    "/model/pin",
    {
      config: { changesModel: true },
      schema: {
        tags: ["model"],
        summary: "Allow the version again that a rollback excluded",
        response: withErrors({ 200: Type.Object({ ...Slot.properties, result: Type.String() }) }),
      },
    },
    async () => {
      const result = await slot.unpin();
      return { ...describeSlot(slot), result };
    },
  );
}
