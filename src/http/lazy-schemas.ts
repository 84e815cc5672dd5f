import { AjvCompiler, type BuildCompilerFromPool } from "@fastify/ajv-compiler";
import { SerializerSelector } from "@fastify/fast-json-stringify-compiler";
import type { FastifySchemaControllerOptions, FastifySerializerCompiler, FastifyValidationResult } from "fastify/types/schema.js";

type Compilers = NonNullable<FastifySchemaControllerOptions["compilersFactory"]>;
type Serializers = NonNullable<Compilers["buildSerializer"]>;
type Serialize = ReturnType<FastifySerializerCompiler<unknown>>;
type AjvOptions = Extract<NonNullable<Parameters<BuildCompilerFromPool>[1]>, { mode?: never }>;

/**
 * Fastify's own compilers, but a schema is compiled when the first request needs it: most processes get requests on a few of
 * their routes, and a server with all of MLflow's would spend 0.4 s before it listens. For Fastify's `schemaController`.
 * With `bodyOptions` bodies are validated with these options of Ajv, and all else with Fastify's.
 */
export function lazySchemas(bodyOptions?: NonNullable<AjvOptions["customOptions"]>): { readonly compilersFactory: Compilers } {
  const validators = AjvCompiler();
  const serializers = SerializerSelector();
  const buildValidator: BuildCompilerFromPool = (shared, options) => {
    const compile = validators(shared, options);
    const compileBody =
      bodyOptions === undefined
        ? compile
        : validators(shared, { ...(options as AjvOptions), customOptions: { ...(options as AjvOptions).customOptions, ...bodyOptions } });
    return ((route: { readonly httpPart: string }) => {
      let validate: FastifyValidationResult | undefined;
      return (data: unknown) => {
        validate ??= (route.httpPart === "body" ? compileBody : compile)(route) as FastifyValidationResult;
        return validate(data) === false ? { error: validate.errors ?? [] } : true;
      };
    }) as unknown as typeof compile;
  };
  const buildSerializer: Serializers = (shared, options) => {
    const compile = serializers(shared, options);
    return (route) => {
      let serialize: Serialize | undefined;
      return (document) => (serialize ??= compile(route))(document);
    };
  };
  return { compilersFactory: { buildValidator, buildSerializer } };
}
