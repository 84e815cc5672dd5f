import { readFileSync } from "node:fs";
import { join } from "node:path";
import { expect, test } from "vitest";
import { parse } from "yaml";

interface Rule {
  readonly alert: string;
  readonly labels: { readonly severity: string };
  readonly annotations: { readonly summary: string; readonly runbook: string };
}
interface Case {
  readonly name: string;
  readonly alert_rule_test: readonly { readonly alertname: string; readonly exp_alerts: readonly unknown[] }[];
}

const root = join(import.meta.dirname, "../../..");
const read = (path: string): string => readFileSync(join(root, path), "utf8");
const rules = (parse(read("deployment/prometheus/alerts.yml")) as { groups: { rules: Rule[] }[] }).groups.flatMap((group) => group.rules);
const names = rules.map(({ alert }) => alert);
const cases = ["alerts", "traffic"].flatMap((file) => (parse(read(`tests/containers/${file}.promtool.yml`)) as { tests: Case[] }).tests);
const runbook = read("docs/runbook.md");

/** Where a reader finds the pages: the repository's address, where package.json has one, else the path in it. */
const { repository } = JSON.parse(read("package.json")) as { repository?: { url: string } };
const base = repository === undefined ? "" : `${repository.url.replace(/^git\+/, "").replace(/\.git$/, "")}/blob/main/`;

test("each alert has a severity, and a link to its section of the runbook, which says the same severity and what to look at and do", () => {
  expect([...runbook.matchAll(/^## (\w+)$/gm)].map(([, name]) => name)).toEqual(names);
  for (const { alert, labels, annotations } of rules) {
    expect(["critical", "warning"]).toContain(labels.severity);
    expect(annotations.runbook).toBe(`${base}docs/runbook.md#${alert.toLowerCase()}`);
    const [, section = ""] = new RegExp(String.raw`^## ${alert}\n\n([\s\S]*?)(?=^## |$(?![\s\S]))`, "m").exec(runbook) ?? [];
    expect([alert, section]).toEqual([
      alert,
      expect.stringMatching(new RegExp(String.raw`^\*\*${labels.severity}\.\*\* [\s\S]+^- \*\*Look at\*\*: [\s\S]+^- \*\*Do\*\*: `, "m")),
    ]);
  }
});

test("for each alert there are figures that fire it and figures that do not", () => {
  const checked = cases.flatMap((each) => each.alert_rule_test);
  for (const alert of names) {
    const fires = checked.filter(({ alertname }) => alertname === alert).map(({ exp_alerts }) => exp_alerts.length > 0);
    expect([alert, fires.includes(true), fires.includes(false)]).toEqual([alert, true, true]);
  }
});

test("a flood of requests that clients get wrong is tried with every alert, and fires none", () => {
  const flood = cases.find(({ name }) => name.startsWith("clients send ten thousand wrong requests"));
  expect(flood?.alert_rule_test.map(({ alertname, exp_alerts }) => [alertname, exp_alerts])).toEqual(names.map((name) => [name, []]));
});
