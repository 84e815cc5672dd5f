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
  version: Type.String({ description: "Start of the bundle's digest.", examples: ["3f1b9a0c77d2"] }),
});

/** Adds the error answers that any route may give. */
export function withErrors<T extends Record<number, TSchema>>(replies: T): T & { "4xx": TSchema; "5xx": TSchema } {
  return { ...replies, "4xx": ErrorReply, "5xx": ErrorReply };
}
