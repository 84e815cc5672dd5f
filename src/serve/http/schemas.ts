import Type, { type TSchema } from "typebox";

/** The answer to every request that fails, in every route but those of another protocol. */
const ErrorReply: TSchema = Type.Object(
  {
    error: Type.Object({
      code: Type.String({ description: "Stable; docs/errors.md lists them.", examples: ["E_IMAGE_FORMAT"] }),
      message: Type.String({ description: "What is wrong, what was got and what was expected." }),
      hint: Type.String({ description: "The next step." }),
      request_id: Type.String({ description: "Finds the request in the log." }),
    }),
  },
  { description: "The request failed." },
);

export const ModelName: Type.TObject<{ name: Type.TString; version: Type.TString }> = Type.Object({
  name: Type.String({ examples: ["classifier"] }),
  version: Type.String({ description: "The registry's, or the start of the bundle's digest.", examples: ["3f1b9a0c77d2"] }),
});

export const Abstain: Type.TOptional<Type.TBoolean> = Type.Optional(
  Type.Boolean({
    description:
      "Answer `label: null` where the confidence is under the model's `abstain_below`, or the picture is like none of the training (`unknown_above`).",
  }),
);

const probability = { minimum: 0, maximum: 1 } as const;

export const PredictionReply: Type.TObject<{
  label: Type.TUnion<[Type.TString, Type.TNull]>;
  reason: Type.TOptional<Type.TUnion<[Type.TLiteral<"low_confidence">, Type.TLiteral<"unknown_input">]>>;
  confidence: Type.TNumber;
  probabilities: Type.TRecord<string, Type.TNumber>;
  model: typeof ModelName;
  request_id: Type.TString;
  timings_ms: Type.TObject<{ preprocess: Type.TNumber; queue: Type.TNumber; model: Type.TNumber; total: Type.TNumber }>;
}> = Type.Object({
  label: Type.Union([Type.String(), Type.Null()], { description: "The most probable class; null where the service abstains." }),
  reason: Type.Optional(
    Type.Union([Type.Literal("low_confidence"), Type.Literal("unknown_input")], {
      description: "Why there is no label: the confidence is too low, or the picture is like none of the training.",
    }),
  ),
  confidence: Type.Number({ ...probability, description: "Probability of the most probable class." }),
  probabilities: Type.Record(Type.String(), Type.Number(probability), { description: "Probability of each class." }),
  model: ModelName,
  request_id: Type.String({ description: "Names this answer, for the log and for feedback." }),
  timings_ms: Type.Object({
    preprocess: Type.Number({ description: "Decoding and scaling." }),
    queue: Type.Number({ description: "Waiting for a thread." }),
    model: Type.Number({ description: "Inside the model." }),
    total: Type.Number({ description: "From the first byte of the request." }),
  }),
});

/** Adds the error answers that any route may give. */
export function withErrors<T extends Record<number, unknown>>(replies: T): T & { "4xx": TSchema; "5xx": TSchema } {
  return { ...replies, "4xx": ErrorReply, "5xx": ErrorReply };
}
