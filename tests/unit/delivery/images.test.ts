import { readFileSync } from "node:fs";
import { join } from "node:path";
import { expect, test } from "vitest";
import { parse } from "yaml";

interface Service {
  readonly image: string;
  readonly environment?: Readonly<Record<string, string>>;
  readonly ports?: readonly unknown[];
  readonly read_only?: boolean;
  readonly cap_drop?: readonly string[];
  readonly security_opt?: readonly string[];
  readonly mem_limit?: string;
  readonly pids_limit?: number;
  readonly deploy?: { readonly resources?: { readonly limits?: { readonly memory?: string; readonly pids?: number } } };
}

const root = join(import.meta.dirname, "../../..");
const read = (path: string): string => readFileSync(join(root, path), "utf8");
const servicesOf = (path: string): Readonly<Record<string, Service>> =>
  (parse(read(path), { merge: true }) as { services: Record<string, Service> }).services;
const compose = servicesOf("deployment/docker-compose.yml");
const stack = servicesOf("deployment/stack.yaml");
const guide = read("docs/deployment.md");

/** Built from this repository, so there is nothing to pin but their bases. */
const own = /^(\$\{SERVAL_IMAGE:-cats-dogs-classifier:latest\}|serval-mlflow:[\d.]+)$/;
/** The digests of these are not known here: docs/deployment.md says so. */
const byTag = ["haproxy:3.0", "postgres:15-bookworm", "prom/alertmanager:v0.25.0", "prom/prometheus:v2.42.0"];

test("every image of others is named by its digest, or docs/deployment.md says that it is not", () => {
  const images = new Set(
    [...Object.values(compose), ...Object.values(stack)].map(({ image }) => image).filter((image) => !own.test(image)),
  );
  expect([...images].filter((image) => !/^[\w./-]+:[\w.-]+@sha256:[0-9a-f]{64}$/.test(image)).sort()).toEqual(byTag);
  for (const image of byTag) expect(guide).toContain(`\`${image}\``);
});

test("Swarm runs the same images as Compose, and a database that one host does without", () => {
  const { predictions: _, ...shared } = stack;
  for (const [name, { image }] of Object.entries(shared)) expect([name, image]).toEqual([name, compose[name]?.image]);
});

test("every base image has a digest for CI, of the tag that its Dockerfile names", () => {
  const bases = ["Dockerfile", "deployment/mlflow/Dockerfile"].flatMap((path) =>
    [...read(path).matchAll(/^ARG (\w+)_IMAGE=(.+)$/gm)].map(([, name = "", image = ""]) => `${image} AS ${name.toLowerCase()}`),
  );
  const pinned = [...read(".github/base-images/Dockerfile").matchAll(/^FROM ([^\s@]+)@sha256:[0-9a-f]{64}( AS \w+)$/gm)];
  expect(pinned.map(([, image = "", name = ""]) => image + name).sort()).toEqual(bases.sort());
  // Every stage of our own Dockerfiles starts from such an argument, or from another stage.
  for (const path of ["Dockerfile", "deployment/mlflow/Dockerfile"]) {
    const stages = [...read(path).matchAll(/^FROM \S+ AS (\w+)$/gm)].map(([, name]) => name);
    const from = [...read(path).matchAll(/^FROM (\S+)/gm)].map(([, name = ""]) => name);
    expect(from.filter((name) => !/^\$\{\w+_IMAGE\}$/.test(name) && !stages.includes(name))).toEqual([]);
  }
});

test("each service has a read-only file system, no capability, and a limit of memory and processes", () => {
  for (const [name, service] of Object.entries(compose)) {
    expect([name, service.read_only, service.cap_drop, service.security_opt]).toEqual([name, true, ["ALL"], ["no-new-privileges:true"]]);
    expect([name, service.mem_limit, service.pids_limit]).toEqual([name, expect.stringMatching(/\d[mg]\}?$/), expect.any(Number)]);
  }
  // A stack file has no word for no-new-privileges: docs/deployment.md says where to set it.
  for (const [name, service] of Object.entries(stack)) {
    expect([name, service.read_only, service.cap_drop]).toEqual([name, true, ["ALL"]]);
    expect([name, service.deploy?.resources?.limits?.memory]).toEqual([name, expect.stringMatching(/^\d+[MG]$/)]);
  }
});

test("only the proxy listens beyond this machine", () => {
  for (const [name, { ports = [] }] of Object.entries(compose)) {
    const open = ports.filter((port) => !/^(127\.0\.0\.1:|\$\{[A-Z]+_PUBLISH:-127\.0\.0\.1:)/.test(String(port)));
    expect([name, open]).toEqual([name, name === "proxy" ? ["${SERVAL_PUBLISH:-8000}:8000"] : []]);
  }
  expect(Object.entries(stack).flatMap(([name, { ports = [] }]) => (ports.length > 0 ? [name] : []))).toEqual(["proxy"]);
});

test("no password has a default", () => {
  expect(compose["grafana"]?.environment?.["GF_SECURITY_ADMIN_PASSWORD"]).toMatch(/^\$\{GRAFANA_ADMIN_PASSWORD:\?/);
  expect(stack["grafana"]?.environment).toHaveProperty("GF_SECURITY_ADMIN_PASSWORD__FILE", "/run/secrets/grafana-password");
  expect(read("deployment/.env.example")).toMatch(/^GRAFANA_ADMIN_PASSWORD=$/m);
});
