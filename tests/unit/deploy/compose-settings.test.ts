import { readFileSync } from "node:fs";
import { join } from "node:path";
import { expect, test } from "vitest";
import { parse } from "yaml";
import { variables } from "../../../src/config/settings.ts";

const folder = join(import.meta.dirname, "../../../deployment");
const compose = readFileSync(join(folder, "docker-compose.yml"), "utf8");
const example = readFileSync(join(folder, ".env.example"), "utf8");
const namesIn = (pattern: RegExp, text: string): string[] => [...new Set([...text.matchAll(pattern)].map(([, name]) => name ?? ""))].sort();

test(".env.example names every variable that docker-compose.yml reads, and no other", () => {
  const explained = namesIn(/^#?([A-Z_]+)=/gm, example);
  const ofComposeItself = ["COMPOSE_PROFILES", "COMPOSE_PROJECT_NAME"];
  // Only for tests that need their own network.
  const notExplained = ["SERVAL_NETWORK"];
  const read = namesIn(/\$\{([A-Z_]+)/g, compose).filter((name) => !notExplained.includes(name));
  expect(explained).toEqual([...read, ...ofComposeItself].sort());
});

test("the service takes all its settings from .env, except those that the image decides or others read", () => {
  const { services } = parse(compose) as { services: Record<string, { environment: Record<string, string> }> };
  const ofTheService = Object.values(variables)
    .map(({ name }) => name)
    .filter((name) => name.startsWith("SERVAL_"));
  const ofTheImage = ["SERVAL_HOST", "SERVAL_PORT", "SERVAL_STATE_DIR"];
  // Of the commands; of several hosts, which stack.yaml is for; without effect behind the proxy.
  const others = ["SERVAL_API_KEY", "SERVAL_PREDICTIONS_PASSWORD_FILE", "SERVAL_ADMIN"];
  const ofTheTrackingServer = ["SERVAL_TRACK_MAX_FILE_BYTES", "SERVAL_TRACK_MAX_RUN_BYTES", "SERVAL_TRACK_MIN_FREE_BYTES"];
  const passed = Object.keys(services["cats-dogs-classifier"]?.environment ?? {});
  expect(ofTheService.filter((name) => !passed.includes(name)).sort()).toEqual([...ofTheImage, ...others, ...ofTheTrackingServer].sort());
});

test("defaults in .env.example are those of the program", () => {
  const defaults = Object.fromEntries(
    Object.values(variables).map(({ name, schema }) => [name, (schema as { default?: string | number | boolean }).default]),
  );
  for (const [, name = "", value = ""] of example.matchAll(/^#(SERVAL_[A-Z_]+)=(.*)$/gm)) {
    // Of compose alone, or another one than the program's: behind the proxy of compose there is one.
    if (["SERVAL_IMAGE", "SERVAL_MODEL", "SERVAL_API_KEYS_FILE", "SERVAL_KEYS_DIR", "SERVAL_PROXIES", "SERVAL_MEMORY"].includes(name))
      continue;
    expect(`${name}=${value}`).toBe(`${name}=${defaults[name] ?? ""}`);
  }
});

test("the proxy waits longer than the service, and how long is said where the service's time is set", () => {
  const proxy = readFileSync(join(folder, "proxy/haproxy.cfg"), "utf8");
  const seconds = Number(/^ *timeout server (\d+)s$/m.exec(proxy)?.[1]);
  const { default: requestMs } = variables.requestTimeoutMs.schema as { default: number };
  expect(seconds * 1000).toBeGreaterThan(requestMs);
  expect(example).toMatch(new RegExp(`The proxy waits ${seconds} s .*\n.*\n#SERVAL_REQUEST_TIMEOUT_MS=`));
  const guide = readFileSync(join(folder, "../docs/deployment.md"), "utf8").replaceAll(/\s+/g, " ");
  expect(guide).toContain(`The proxy waits ${seconds} s for an answer: a \`SERVAL_REQUEST_TIMEOUT_MS\` above ${seconds * 1000} needs`);
});

test("every service is in the network, has its logs rotated by the engine, and comes back after a restart", () => {
  const { services } = parse(compose) as { services: Record<string, Record<string, unknown>> };
  for (const [name, service] of Object.entries(services)) {
    expect([name, service["networks"], service["restart"]]).toEqual([name, ["mlops-network"], "unless-stopped"]);
    expect([name, service["logging"]]).toEqual([name, { driver: "json-file", options: { "max-size": "10m", "max-file": "5" } }]);
  }
});
