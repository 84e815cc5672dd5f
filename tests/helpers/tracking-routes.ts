import { subscribe, unsubscribe } from "node:diagnostics_channel";
import type { FastifyInstance, RouteOptions } from "fastify";
import { onTestFinished } from "vitest";

/** A field of a request: where it goes, and the path to it inside. */
export interface RouteField {
  readonly place: "body" | "querystring" | "params";
  readonly path: readonly (string | number)[];
}

/** The part of a JSON schema that names the fields of a request. */
export interface RequestSchema {
  readonly type?: string;
  readonly properties?: Readonly<Record<string, RequestSchema>>;
  readonly items?: RequestSchema;
  readonly allOf?: readonly RequestSchema[];
  readonly anyOf?: readonly RequestSchema[];
  readonly const?: unknown;
}

export interface SweptRoute {
  readonly method: string;
  readonly url: string;
  readonly schemas: Readonly<Partial<Record<RouteField["place"], RequestSchema>>>;
}

/** Collects the routes of every Fastify that is made during the test, with their schemas: a new route is in the list by itself. */
export function collectRoutes(): SweptRoute[] {
  const routes: SweptRoute[] = [];
  const onInitialization = (message: unknown): void => {
    const { fastify } = message as { fastify: FastifyInstance };
    fastify.addHook("onRoute", ({ method, url, schema = {} }: RouteOptions) => {
      const { body, querystring, params } = schema as Partial<Record<RouteField["place"], RequestSchema>>;
      for (const name of [method].flat()) {
        if (name === "HEAD" || name === "OPTIONS") continue;
        routes.push({
          method: name,
          url,
          schemas: { ...(body && { body }), ...(querystring && { querystring }), params: params ?? pathParams(url) },
        });
      }
    });
  };
  subscribe("fastify.initialization", onInitialization);
  onTestFinished(() => void unsubscribe("fastify.initialization", onInitialization));
  return routes;
}

function pathParams(url: string): RequestSchema {
  const names = [...url.matchAll(/:(\w+)|\*/g)].map(([whole, name]) => name ?? whole);
  return { properties: Object.fromEntries(names.map((name) => [name, { type: "string" }])) };
}

/** Every field of a schema, those inside objects and lists as well. */
export function fieldsOf(place: RouteField["place"], schema: RequestSchema, path: readonly (string | number)[] = []): RouteField[] {
  const inside = Object.entries(propertiesOf(schema)).flatMap(([name, child]) => fieldsOf(place, child, [...path, name]));
  const items = schema.items === undefined ? [] : fieldsOf(place, schema.items, [...path, 0]);
  return [...(path.length > 0 ? [{ place, path }] : []), ...inside, ...items];
}

/** A value that fits the schema; `sample` knows values by the names of their fields. */
export function fittingValue(schema: RequestSchema, name: string, sample: (name: string) => unknown): unknown {
  const known = sample(name);
  if (schema.const !== undefined) return schema.const;
  if (schema.anyOf?.[0] !== undefined) return fittingValue(schema.anyOf[0], name, sample);
  if (schema.items !== undefined) {
    const holdsObjects = Object.keys(propertiesOf(schema.items)).length > 0;
    return Array.isArray(known) && !holdsObjects ? known : [fittingValue(schema.items, name, sample)];
  }
  const properties = Object.entries(propertiesOf(schema));
  if (properties.length > 0) return Object.fromEntries(properties.map(([key, child]) => [key, fittingValue(child, key, sample)]));
  if (schema.type === "integer" || schema.type === "number") return typeof known === "number" ? known : 1;
  if (schema.type === "boolean") return false;
  return typeof known === "string" ? known : "x";
}

function propertiesOf({ properties = {}, allOf = [] }: RequestSchema): Readonly<Record<string, RequestSchema>> {
  return Object.assign({}, ...allOf.map(propertiesOf), properties) as Readonly<Record<string, RequestSchema>>;
}
