import { createServer, type IncomingMessage, type Server, type ServerResponse } from "node:http";
import type { AddressInfo } from "node:net";

interface StubRun {
  readonly id: string;
  readonly experiment: string;
  name: string;
  status: string;
  endTime: number | undefined;
  readonly tags: Record<string, string>;
  readonly params: Record<string, string>;
  readonly metrics: { key: string; value: number | string; timestamp: number; step: number }[];
  readonly files: Record<string, Buffer>;
  readonly inputs: unknown[];
}

interface StubModel {
  readonly id: string;
  readonly name: string;
  readonly run: string;
  readonly tags: Record<string, string>;
  readonly files: Record<string, Buffer>;
  status: string;
}

/** What a tracking server does to a request before it answers it: a status instead of the answer, or nothing at all. */
export type Misbehaviour = (request: IncomingMessage) => number | "hang" | undefined;

/** The requests of the MLflow REST API that Serval sends, over real HTTP, kept in memory. The interop suite talks to the real one. */
export class MlflowStub {
  readonly runs: StubRun[] = [];
  readonly models: StubModel[] = [];
  readonly requests: string[] = [];
  /** False: as before MLflow 3. */
  hasLoggedModels = true;
  misbehave: Misbehaviour = () => undefined;
  artifactRoot = "mlflow-artifacts:/";
  readonly #experiments: string[] = [];
  #server: Server | undefined;
  #port = 0;

  get uri(): string {
    return `http://127.0.0.1:${this.#port}`;
  }

  /** The first time on a free port; afterwards on the same one. */
  async listen(): Promise<void> {
    const server = createServer((request, response) => void this.#answer(request, response));
    this.#server = server;
    await new Promise<void>((resolve) => server.listen(this.#port, "127.0.0.1", resolve));
    this.#port = (server.address() as AddressInfo).port;
  }

  async close(): Promise<void> {
    this.#server?.closeAllConnections();
    await new Promise((resolve) => this.#server?.close(resolve));
  }

  async #answer(request: IncomingMessage, response: ServerResponse): Promise<void> {
    const chunks: Buffer[] = [];
    for await (const chunk of request) chunks.push(chunk as Buffer);
    const body = Buffer.concat(chunks);
    const url = new URL(request.url ?? "/", this.uri);
    this.requests.push(`${request.method} ${url.pathname}`);
    const deed = this.misbehave(request);
    if (deed === "hang") return;
    if (deed !== undefined) {
      response.writeHead(deed).end(JSON.stringify({ error_code: "STUB", message: `told to answer ${deed}` }));
      return;
    }
    const files = /^\/api\/2\.0\/mlflow-artifacts\/artifacts\/[^/]+\/([^/]+)\/artifacts\/(.+)$/.exec(url.pathname);
    if (files) {
      this.#run(files[1]).files[decodeURIComponent(files[2] ?? "")] = body;
      response.end("{}");
      return;
    }
    const modelFiles = /^\/api\/2\.0\/mlflow-artifacts\/artifacts\/models\/([^/]+)\/(.+)$/.exec(url.pathname);
    if (modelFiles) {
      this.#model(modelFiles[1]).files[decodeURIComponent(modelFiles[2] ?? "")] = body;
      response.end("{}");
      return;
    }
    if (!this.hasLoggedModels && url.pathname.includes("/logged-models")) {
      response.writeHead(404).end("<!doctype html><title>404 Not Found</title>");
      return;
    }
    const content = request.method === "GET" ? Object.fromEntries(url.searchParams) : (JSON.parse(body.toString()) as object);
    const answer = this.#call(url.pathname.replace("/api/2.0/mlflow/", ""), content as Record<string, never>);
    if (answer === undefined)
      response.writeHead(404).end(JSON.stringify({ error_code: "RESOURCE_DOES_NOT_EXIST", message: "no such thing" }));
    else response.end(JSON.stringify(answer));
  }

  #call(name: string, content: Record<string, never>): object | undefined {
    const pairs = (list: { key: string; value: string }[] = []): Record<string, string> =>
      Object.fromEntries(list.map(({ key, value }) => [key, value]));
    switch (name) {
      case "experiments/get-by-name": {
        const index = this.#experiments.indexOf(content["experiment_name"] ?? "");
        return index < 0 ? undefined : { experiment: { experiment_id: String(index), lifecycle_stage: "active" } };
      }
      case "experiments/create":
        return { experiment_id: String(this.#experiments.push(content["name"] ?? "") - 1) };
      case "runs/search": {
        const [, key = "", value = ""] = /^tags\.`(.+)` = '(.+)'$/.exec(content["filter"] ?? "") ?? [];
        const found = this.runs.filter((run) => run.tags[key] === value);
        return { runs: found.map((run) => ({ info: this.#info(run) })) };
      }
      case "runs/create": {
        const id = `run${this.runs.length}`;
        const [experiment, runName] = [content["experiment_id"] ?? "", content["run_name"] ?? ""];
        const run = {
          id,
          experiment,
          name: runName,
          status: "RUNNING",
          endTime: undefined,
          params: {},
          metrics: [],
          files: {},
          inputs: [],
        };
        this.runs.push({ ...run, tags: pairs(content["tags"]) });
        return { run: { info: this.#info(this.#run(id)) } };
      }
      case "runs/log-batch": {
        const run = this.#run(content["run_id"]);
        Object.assign(run.tags, pairs(content["tags"]));
        Object.assign(run.params, pairs(content["params"]));
        // As the real one does: a point that is there is not there twice.
        const known = new Set(run.metrics.map((point) => JSON.stringify(point)));
        run.metrics.push(...((content["metrics"] ?? []) as StubRun["metrics"]).filter((point) => !known.has(JSON.stringify(point))));
        return {};
      }
      case "runs/update": {
        const run = this.#run(content["run_id"]);
        [run.status, run.endTime] = [content["status"] ?? "", content["end_time"]];
        return { run_info: this.#info(run) };
      }
      case "runs/log-inputs":
        for (const input of (content["datasets"] ?? []) as unknown[]) {
          const { inputs } = this.#run(content["run_id"]);
          if (!inputs.some((known) => JSON.stringify(known) === JSON.stringify(input))) inputs.push(input);
        }
        return {};
      case "runs/outputs":
        return {};
      case "logged-models/search": {
        const [, key = "", value = ""] = /^tags\.`(.+)` = '(.+)'$/.exec(content["filter"] ?? "") ?? [];
        return { models: this.models.filter(({ tags }) => tags[key] === value).map(describeModel) };
      }
      case "logged-models": {
        const id = `m-${this.models.length}`;
        const [modelName, run] = [content["name"] ?? "", content["source_run_id"] ?? ""];
        this.models.push({ id, name: modelName, run, tags: pairs(content["tags"]), files: {}, status: "LOGGED_MODEL_PENDING" });
        return { model: describeModel(this.#model(id)) };
      }
      default: {
        const model = this.models.find(({ id }) => name === `logged-models/${id}`);
        if (model) model.status = content["status"] ?? "";
        return model && { model: describeModel(model) };
      }
    }
  }

  #model(id: string | undefined): StubModel {
    const model = this.models.find((known) => known.id === id);
    if (!model) throw new Error(`the stub has no model ${id}`);
    return model;
  }

  #run(id: string | undefined): StubRun {
    const run = this.runs.find((known) => known.id === id);
    if (!run) throw new Error(`the stub has no run ${id}`);
    return run;
  }

  #info({ id, experiment }: StubRun): object {
    return { run_id: id, experiment_id: experiment, artifact_uri: `${this.artifactRoot}${experiment}/${id}/artifacts` };
  }
}

function describeModel({ id, status }: StubModel): object {
  return { info: { model_id: id, artifact_uri: `mlflow-artifacts:/models/${id}`, status } };
}
