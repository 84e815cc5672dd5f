import { mkdtemp, rm, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { cloneAsItIs } from "../docs/clone-as-it-is.ts";
import { Reader } from "../docs/reader.ts";

/** Who keeps the services running, with a clone of this repository on the host, and does what the pages say. */
export interface Operator {
  readonly reader: Reader;
  /** The clone. */
  readonly dir: string;
  readonly env: Readonly<Record<string, string>>;
  remove(): Promise<void>;
}

/** Grafana's image is pulled from Docker Hub, which the tests do without: another one that does nothing has its place. */
const grafana = `services:
  grafana:
    image: python:3.11-slim-bookworm
    command: [sleep, infinity]
    stop_signal: SIGKILL
    healthcheck: { test: [CMD, "true"], interval: 5s }
`;

export async function hireOperator(settings: Readonly<Record<string, string>>): Promise<Operator> {
  const folder = await mkdtemp(join(tmpdir(), "serval-operator-"));
  const dir = join(folder, "serval");
  await cloneAsItIs(dir);
  const override = join(folder, "grafana.yml");
  await writeFile(override, grafana);
  const env = { DOCKER_BUILDKIT: "1", COMPOSE_DOCKER_CLI_BUILD: "1", COMPOSE_FILE: `docker-compose.yml:${override}`, ...settings };
  return { reader: Reader.withEngine(dir, env), dir, env, remove: async () => await rm(folder, { recursive: true }) };
}
