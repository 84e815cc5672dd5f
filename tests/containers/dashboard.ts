import { readdir, readFile } from "node:fs/promises";
import { join } from "node:path";
import { parse } from "yaml";
import { root } from "./engine.ts";

export interface DashboardQuery {
  /** File of its dashboard. */
  readonly file: string;
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

/** All queries of the dashboards that Grafana is provisioned with. Throws for a panel that asks another source. */
export async function readDashboards(): Promise<DashboardQuery[]> {
  const sources = parse(await readFile(join(grafana, "provisioning/datasources/prometheus.yml"), "utf8")) as {
    readonly datasources: readonly [{ readonly uid: string; readonly jsonData: { readonly timeInterval: string } }];
  };
  const [{ uid, jsonData }] = sources.datasources;
  // Grafana: the larger of four scrape intervals, and the step of the graph and one more.
  const rateInterval = `${4 * Number.parseInt(jsonData.timeInterval, 10)}s`;
  const files = (await readdir(join(grafana, "dashboards"))).sort();
  const texts = await Promise.all(files.map(async (file) => await readFile(join(grafana, "dashboards", file), "utf8")));
  const panels = texts.flatMap((text, i) => (JSON.parse(text) as Dashboard).panels.map((panel) => ({ file: files[i] ?? "", ...panel })));
  return panels.flatMap(({ file, title, datasource, targets = [] }) => {
    if (targets.length > 0 && datasource?.uid !== uid) throw new Error(`${title} asks ${datasource?.uid}, and only ${uid} is there`);
    return targets.map(({ expr, legendFormat }) => ({
      file,
      panel: title,
      legend: legendFormat,
      expr: expr.replaceAll("$__rate_interval", rateInterval),
    }));
  });
}
