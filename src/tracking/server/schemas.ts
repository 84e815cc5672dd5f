import type { SchemaErrorFormatter } from "fastify/types/schema.js";
import Type, {
  type TArray,
  type TInteger,
  type TIntersect,
  type TLiteral,
  type TNumber,
  type TObject,
  type TOptional,
  type TString,
  type TUnion,
  type TUnsafe,
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

/** Where a value is in what is validated. */
interface Place {
  readonly parentData: Record<string | number, unknown>;
  readonly parentDataProperty: string | number;
}

/**
 * protobuf's JSON mapping writes large numbers as text, and takes any number so. Of all that is in a body this alone is
 * converted: a number where a text is expected is refused.
 */
export const numeric: {
  readonly keyword: string;
  readonly modifying: true;
  readonly errors: false;
  readonly validate: (schema: unknown, data: unknown, parentSchema?: unknown, at?: Place) => boolean;
} = {
  keyword: "numeric",
  modifying: true,
  errors: false,
  validate: (_schema, data, _parentSchema, at) => {
    if (at !== undefined && typeof data === "string" && /^[+-]?(\d+(?:\.\d*)?|\.\d+)(e[+-]?\d+)?$/i.test(data))
      at.parentData[at.parentDataProperty] = Number(data);
    return true;
  },
};

type Numeric<Schema extends TInteger | TNumber> = TIntersect<[TUnsafe<unknown>, Schema]>;
function Numeric<Schema extends TInteger | TNumber>(schema: Schema, options: { default?: number } = {}): Numeric<Schema> {
  return Type.Intersect([Type.Unsafe({ numeric: true }), schema], options);
}

const safe = { minimum: Number.MIN_SAFE_INTEGER, maximum: Number.MAX_SAFE_INTEGER };
/** A number that comes back from the store as it went in: beyond 2^53 - 1 JavaScript cannot read it. */
export const Integer: Numeric<TInteger> = Numeric(Type.Integer(safe));
export const Whole: TOptional<Numeric<TInteger>> = Type.Optional(Integer);
/** The step of a metric or a model. */
export const Step: Numeric<TInteger> = Numeric(Type.Integer(safe), { default: 0 });
/** How many results a search may have at most; its store says what is too many. */
export const maxResultsOr = (count: number): Numeric<TInteger> => Numeric(Type.Integer(), { default: count });

/** protobuf's JSON mapping writes as text what JSON has no number for. */
export const Double: TUnion<[Numeric<TNumber>, TLiteral<"NaN">, TLiteral<"Infinity">, TLiteral<"-Infinity">]> = Type.Union([
  Numeric(Type.Number()),
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
