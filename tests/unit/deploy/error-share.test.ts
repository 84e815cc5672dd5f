import { readFileSync } from "node:fs";
import { join } from "node:path";
import { expect, test } from "vitest";
import { parse } from "yaml";
import { createServiceMetrics } from "../../../src/monitor/metrics.ts";

const folder = join(import.meta.dirname, "../../../deployment");

interface Alerts {
  readonly groups: readonly [{ readonly rules: readonly { readonly alert: string; readonly expr: string }[] }];
}
interface Dashboard {
  readonly panels: readonly {
    readonly title: string;
    readonly targets?: readonly { readonly expr: string; readonly legendFormat: string }[];
  }[];
}

/** Every expression for a share of requests: of the alert, and of the dashboard. */
function shares(): readonly (readonly [string, string])[] {
  const { groups } = parse(readFileSync(join(folder, "prometheus/alerts.yml"), "utf8")) as Alerts;
  const { panels } = JSON.parse(readFileSync(join(folder, "grafana/dashboards/service.json"), "utf8")) as Dashboard;
  const rules = groups[0].rules.map(({ alert, expr }) => [alert, expr] as const);
  const queries = panels.flatMap(({ title, targets = [] }) =>
    targets.map((query) => [`${title}, ${query.legendFormat}`, query.expr] as const),
  );
  return [...rules, ...queries].filter(([, expr]) => [...expr.matchAll(/serval_http_requests_total/g)].length === 2);
}

/** The requests that each selector of an expression takes, of the metrics as Prometheus scrapes them. */
function selected(expr: string, metrics: string): number[] {
  return [...expr.matchAll(/serval_http_requests_total\{([^}]*)\}/g)].map(([, selector = ""]) => {
    const matchers = [...selector.matchAll(/(\w+)(=~|!=|=)"([^"]*)"/g)].filter(([, label]) => label !== "job");
    return [...metrics.matchAll(/^serval_http_requests_total\{(.*)\} (\d+)$/gm)].reduce((sum, [, labels = "", value]) => {
      const of = Object.fromEntries([...labels.matchAll(/(\w+)="([^"]*)"/g)].map(([, name = "", text = ""]) => [name, text]));
      const takes = matchers.every(([, label = "", operator, text = ""]) =>
        operator === "=~" ? new RegExp(`^(?:${text})$`).test(of[label] ?? "") : (of[label] === text) === (operator === "="),
      );
      return takes ? sum + Number(value) : sum;
    }, 0);
  });
}

test("the share of failed requests is one of the service's work: health checks, scrapes and unknown addresses do not thin it", async () => {
  const metrics = createServiceMetrics({ queueDepth: () => 0 });
  const count = (times: number, method: string, route: string, status: number): void => {
    for (let i = 0; i < times; i++) metrics.countRequest({ route, method, status, seconds: 0 });
  };
  count(300, "GET", "/health/ready", 200);
  count(30, "GET", "/metrics", 200);
  count(50, "POST", "unknown", 404);
  count(5, "GET", "/model", 200);
  count(2, "POST", "/predict", 200);
  count(1, "POST", "/predict", 500);
  count(1, "POST", "/v2/models/:model/infer", 400);
  const text = await metrics.render();
  const seen = Object.fromEntries(shares().map(([name, expr]) => [name, selected(expr, text)]));
  expect(seen).toEqual({
    ClassifierErrors: [1, 4],
    "Error rate in an hour, errors": [1, 4],
    "Error rate, server": [1, 4],
    "Error rate, client": [1, 4],
  });
});

test("a service that says it is not ready has its own alert, since the proxy sends it no requests that could fail", async () => {
  const metrics = createServiceMetrics({ queueDepth: () => 0 });
  metrics.countRequest({ route: "/health/ready", method: "GET", status: 503, seconds: 0 });
  metrics.countRequest({ route: "/health", method: "GET", status: 200, seconds: 0 });
  const { groups } = parse(readFileSync(join(folder, "prometheus/alerts.yml"), "utf8")) as Alerts;
  const { expr } = groups[0].rules.find(({ alert }) => alert === "ClassifierNotReady") ?? { expr: "" };
  expect(selected(expr, await metrics.render())).toEqual([1]);
});
