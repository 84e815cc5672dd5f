import { readdirSync, readFileSync } from "node:fs";
import { join } from "node:path";
import { expect, test } from "vitest";
import { parse } from "yaml";

interface Panel {
  readonly id: number;
  readonly title: string;
  readonly links?: readonly { readonly url: string }[];
  readonly fieldConfig: {
    readonly defaults: {
      readonly unit?: string;
      readonly thresholds?: { readonly steps: readonly { readonly value: number | null }[] };
    };
  };
}

const root = join(import.meta.dirname, "../../..");
const read = (path: string): string => readFileSync(join(root, path), "utf8");
const folder = "deployment/grafana/dashboards";
const files = readdirSync(join(root, folder)).sort();
const panels = files.flatMap((file) =>
  (JSON.parse(read(`${folder}/${file}`)) as { panels: Panel[] }).panels.map((panel) => ({ name: `${file}: ${panel.title}`, ...panel })),
);
const alerts = (
  parse(read("deployment/prometheus/alerts.yml")) as { groups: { rules: { annotations: { runbook: string } }[] }[] }
).groups.flatMap(({ rules }) => rules);

test("each panel has a unit, and the ids of a dashboard are different", () => {
  expect(panels.filter(({ fieldConfig }) => fieldConfig.defaults.unit === undefined).map(({ name }) => name)).toEqual([]);
  expect(new Set(panels.map(({ name, id }) => `${name.split(":")[0]} ${id}`)).size).toBe(panels.length);
});

test("panels link to the sections of the runbook, and each alert is linked from one or more of them", () => {
  const linked = panels.flatMap(({ links = [] }) => links.map(({ url }) => url));
  expect([...new Set(linked)].sort()).toEqual(alerts.map(({ annotations }) => annotations.runbook).sort());
});

test("a share or a time that has a limit in an alert shows that limit", () => {
  const limitOf = (name: string): readonly (number | null)[] =>
    panels.find((panel) => panel.name === name)?.fieldConfig.defaults.thresholds?.steps.map(({ value }) => value) ?? [];
  expect(limitOf("service.json: Error rate")).toEqual([null, 0.05]);
  expect(limitOf("service.json: Time of a prediction")).toEqual([null, 1]);
  expect(limitOf("model.json: Answers without a label")).toEqual([null, 0.1]);
  expect(limitOf("data.json: Unknown pictures")).toEqual([null, 0.05, 0.1]);
  expect(limitOf("data.json: Disk")).toEqual([null, 0.1, 0.2]);
});

test("Swarm gives Grafana every dashboard; Compose, the folder", () => {
  const stack = parse(read("deployment/stack.yaml"), { merge: true }) as {
    services: { grafana: { configs: { source: string; target: string }[] } };
    configs: Record<string, { file: string }>;
  };
  const given = stack.services.grafana.configs.flatMap(({ source, target }) =>
    target.startsWith("/etc/grafana/dashboards/") ? [`${target.split("/").at(-1)}: ${stack.configs[source]?.file}`] : [],
  );
  expect(given.sort()).toEqual(files.map((file) => `${file}: ./grafana/dashboards/${file}`));
});
