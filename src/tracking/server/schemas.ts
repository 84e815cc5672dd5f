import type { SchemaErrorFormatter } from "fastify/types/schema.js";
import Type, {
  type TArray,
  type TInteger,
  type TLiteral,
  type TNumber,
  type TObject,
  type TOptional,
  type TString,
  type TUnion,
} from "typebox";
import { invalid } from "./refusal.ts";
import { maxSearchResults } from "./store/experiments.ts";

/** Characters of a name, an id or an address: as many as MLflow keeps of a run's name, which is a tag as well. */
const maxText = 8000;
/** Pairs, data sets or models in one request: MLflow's limit for a batch. */
export const maxBatch = 1000;

/** The parameters that requests have in common. Names and types are those of MLflow's protobuf messages. */
export const Required: TString = Type.String({ minLength: 1, maxLength: maxText });
export const Text: TOptional<TString> = Type.Optional(Type.String({ maxLength: maxText }));
/** Ids of experiments, and other lists of short texts. */
export const Texts: TOptional<TArray<TString>> = Type.Optional(
  Type.Array(Type.String({ maxLength: maxText }), { maxItems: maxSearchResults }),
);
export const Description: TOptional<TString> = Type.Optional(Type.String({ maxLength: 100_000 }));

/** What all searches take. A filter may list the ids of 10,000 runs; an order names a key of at most 250 characters. */
export const Filter: TOptional<TString> = Type.Optional(Type.String({ maxLength: 400_000 }));
export const PageToken: TOptional<TString> = Type.Optional(Type.String({ maxLength: 1000 }));
export const maxOrders = 50;
export const Orders: TOptional<TArray<TString>> = Type.Optional(Type.Array(Type.String({ maxLength: 1000 }), { maxItems: maxOrders }));
/** A number that comes back from the store as it went in: beyond 2^53 - 1 JavaScript cannot read it. */
export const Integer: TInteger = Type.Integer({ minimum: Number.MIN_SAFE_INTEGER, maximum: Number.MAX_SAFE_INTEGER });
export const Whole: TOptional<TInteger> = Type.Optional(Integer);
/** The step of a metric or a model. */
export const Step: TInteger = Type.Integer({ minimum: Number.MIN_SAFE_INTEGER, maximum: Number.MAX_SAFE_INTEGER, default: 0 });

/** protobuf's JSON mapping writes as text what JSON has no number for. */
export const Double: TUnion<[TNumber, TLiteral<"NaN">, TLiteral<"Infinity">, TLiteral<"-Infinity">]> = Type.Union([
  Type.Number(),
  Type.Literal("NaN"),
  Type.Literal("Infinity"),
  Type.Literal("-Infinity"),
]);

type PairSchema = TObject<{ key: TString; value: TString }>;
/** Values have other limits for each kind, and some are cut instead of refused: names.ts. */
const Pair: PairSchema = Type.Object({ key: Required, value: Type.String({ default: "" }) });
export const Pairs: TOptional<TArray<PairSchema>> = Type.Optional(Type.Array(Pair, { maxItems: maxBatch }));

export const RunQuery: TObject<{ run_id: TString }> = Type.Object({ run_id: Required });

/** Tells in MLflow's words which parameter is missing, and where one is of the wrong kind. */
export const formatSchemaErrors: SchemaErrorFormatter = (errors) => {
  const [first] = errors;
  const path = (first?.instancePath ?? "")
    .slice(1)
    .replaceAll(/\/(\d+)/g, "[$1]")
    .replaceAll("/", ".");
  if (first?.keyword === "required") return invalid(missingText([path, String(first.params["missingProperty"])].filter(Boolean).join(".")));
  if (first?.keyword === "minLength") return invalid(missingText(path));
  if (first?.keyword === "maxLength")
    return invalid(`'${path}' exceeds the maximum length of ${String(first.params["limit"])} characters.`);
  return invalid(`Invalid value for parameter '${path}': it ${first?.message ?? "is not valid"}.`);
};

function missingText(path: string): string {
  return `Missing value for required parameter '${path}'.`;
}
