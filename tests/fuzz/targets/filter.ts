import { mkdtemp, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { createTrackingClient } from "../../../src/tracking/client/tracking-client.ts";
import { openEmbeddedTracking } from "../../../src/tracking/server/tracking-server.ts";
import { mutateText } from "../mutate.ts";
import { expectThat, type FuzzTarget } from "../target.ts";

const seeds = [
  `metrics.loss < 0.5 AND params.model = 'cnn4' AND attributes.run_id IN ('a', 'b')`,
  `tags."mlflow.source" ILIKE '%x%' and params.\`a b\` != "c"`,
  `attributes.start_time >= 1700000000000 AND attributes.status NOT IN ('FINISHED') AND tags.a IS NOT NULL`,
  `name = 'm' and tags.a LIKE 'b\\_%'`,
  `datasets.name = 'd' and dataset.digest = 'x' and metrics.a > -1e-9`,
  `version_number > 3 AND run_id = 'x' AND aliases = 'champion'`,
  `metrics.accuracy DESC, attributes.start_time asc, params.a`,
];
const words = [
  "AND",
  "and",
  "OR",
  "NOT",
  "IN",
  "LIKE",
  "ILIKE",
  "IS",
  "NULL",
  "=",
  "!=",
  "<",
  "<=",
  ">",
  ">=",
  "(",
  ")",
  ",",
  ".",
  "'",
  '"',
  "`",
  "\\",
  "''",
  '""',
  "metrics",
  "params",
  "tags",
  "attributes",
  "attribute",
  "dataset",
  "run_id",
  "status",
  "name",
  "version_number",
  "creation_timestamp",
  "DESC",
  "ASC",
  "0",
  "-1",
  "1e999",
  "NaN",
  "0x10",
  ".5",
  "5.",
  "9223372036854775808",
  "%",
  "_",
  ";",
  "--",
  "/*",
  "*/",
  "?",
  ":a",
  "@b",
  "$c",
  "\0",
  "\n",
  "😀",
  "\ud800",
];
const searches: readonly (readonly [path: string, method: "GET" | "POST"])[] = [
  ["runs/search", "POST"],
  ["experiments/search", "POST"],
  ["registered-models/search", "GET"],
  ["model-versions/search", "GET"],
  ["logged-models/search", "POST"],
];

/** The grammar of filters and orders of the tracking server, up to the rows that SQLite gives: an answer, or 400. The first byte says which search it is. */
export async function openFilter(): Promise<FuzzTarget> {
  const dir = await mkdtemp(join(tmpdir(), "serval-fuzz-"));
  const server = await openEmbeddedTracking(dir);
  const client = createTrackingClient(server.url);
  const experiment = await client.ensureExperiment("e");
  const { runId } = await client.createRun({ experimentId: experiment, name: "r", startTime: 1, tags: [{ key: "a", value: "b" }] });
  await client.logBatch(runId, { metrics: [{ key: "loss", value: 1, timestamp: 1, step: 0 }], params: [{ key: "model", value: "cnn4" }] });
  const run = async (input: Uint8Array): Promise<void> => {
    const [choice = 0] = input;
    const text = Buffer.from(input.subarray(1)).toString("utf8");
    const [path, method] = searches[choice % searches.length]!;
    const url = `${server.url}/api/2.0/mlflow/${path}`;
    const isOrder = choice % (2 * searches.length) >= searches.length;
    const content = isOrder ? { order_by: [text] } : { filter: text };
    const ids = path.startsWith("runs") || path.startsWith("logged") ? { experiment_ids: [experiment] } : {};
    const query = new URLSearchParams(isOrder ? { order_by: text } : { filter: text }).toString();
    // An address that is too long says nothing about the grammar.
    if (method === "GET" && query.length > 10_000) return;
    const init = { method, headers: { "content-type": "application/json" }, body: JSON.stringify({ ...ids, ...content }) };
    const response = await (method === "GET" ? fetch(`${url}?${query}`) : fetch(url, init));
    const said = await response.text();
    expectThat([200, 400].includes(response.status), `${path} answers ${response.status}: ${said.slice(0, 200)}`);
    expectThat(said.length < 100_000 + 10 * text.length, `${path} answers with ${said.length} characters`);
  };
  const close = async (): Promise<void> => {
    await server.close();
    await rm(dir, { recursive: true, force: true });
  };
  const choices = Array.from({ length: 2 * searches.length }, (_, choice) => choice);
  const all = choices.flatMap((choice) => seeds.map((text) => Buffer.concat([Buffer.from([choice]), Buffer.from(text)])));
  return { seeds: all, mutate: mutateText(words), guided: true, run, close };
}
