import { readFile } from "node:fs/promises";
import { join } from "node:path";
import { parse } from "yaml";
import { root } from "./engine.ts";

export interface DashboardQuery {
  readonly panel: string;
  readonly legend: string;
  /** PromQL with Grafana's own variables replaced as Grafana does it. */
  readonly expr: string;
}

interface Dashboard {
  readonly panels: readonly {
    readonly title: string;
    readonly datasource?: { readonly uid: string };
    readonly targets?: readonly { readonly expr: string; readonly legendFormat: string }[];
  }[];
}

const grafana = join(root, "deployment/grafana");

/** All queries of the dashboard that Grafana is provisioned with. Throws for a panel that asks another source. */
export async function readDashboard(): Promise<DashboardQuery[]> {
  const { panels } = JSON.parse(await readFile(join(grafana, "dashboards/service.json"), "utf8")) as Dashboard;
  const sources = parse(await readFile(join(grafana, "provisioning/datasources/prometheus.yml"), "utf8")) as {
    readonly datasources: readonly [{ readonly uid: string; readonly jsonData: { readonly timeInterval: string } }];
  };
  const [{ uid, jsonData }] = sources.datasources;
  // Grafana: the larger of four scrape intervals, and the step of the graph and one more.
  const rateInterval = `${4 * Number.parseInt(jsonData.timeInterval, 10)}s`;
  return panels.flatMap(({ title, datasource, targets = [] }) => {
    if (targets.length > 0 && datasource?.uid !== uid) throw new Error(`${title} asks ${datasource?.uid}, and only ${uid} is there`);
    return targets.map(({ expr, legendFormat }) => ({
      panel: title,
      legend: legendFormat,
      expr: expr.replaceAll("$__rate_interval", rateInterval),
    }));
  });
}
