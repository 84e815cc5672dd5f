/** What one of the two servers answered: the status, MLflow's error code, or the body. */
export interface Answer {
  readonly status: number;
  readonly code?: string;
  readonly body?: unknown;
}

/** One thing that users of MLflow count on. Both servers are asked the same, and must answer the same. */
export interface Behaviour {
  readonly name: string;
  /** The requests, and what of their answers is compared. */
  readonly ask: (server: Asked) => Promise<unknown>;
  /** Where Serval answers otherwise on purpose: why, and what it answers. */
  readonly differs?: Difference;
}

export interface Difference {
  readonly why: string;
  readonly serval: unknown;
}

export type Json = Record<string, unknown>;

export const refused: Answer = { status: 400, code: "INVALID_PARAMETER_VALUE" };

/** The reasons for differences, which docs/tracking.md lists. */
export const because = {
  drops: "MLflow drops what it cannot read and answers 200; Serval refuses it",
  fails: "MLflow fails with 500; Serval says what is wrong with the request",
  code: "Both refuse it; Serval's code says why",
  hosts: "MLflow could be made to connect to the host and refuses it; Serval never connects, and takes it",
  digest: "The digest is optional in MLflow's documentation; its server finds nothing without one",
  climbs: "MLflow takes an address with .. in it; Serval refuses it",
  quoted: "MLflow takes a number in quotes for version_number; Serval refuses it, as both do elsewhere",
  plain: "Serval takes - and / in a name without quotes",
  skips: "MLflow skips what it cannot place in a filter; Serval refuses it",
} as const;

/** One behaviour for each request. Those in `differing` are answered by Serval as its reason says, by default with a refusal. */
export function each<Request>(
  name: string,
  requests: readonly Request[],
  differing: Readonly<Partial<Record<keyof typeof because, readonly Request[]>>>,
  ask: (server: Asked, request: Request) => Promise<unknown>,
): Behaviour[] {
  const row = (request: Request, differs?: Difference): Behaviour => ({
    name: `${name}: ${JSON.stringify(request).slice(0, 150)}`,
    ask: async (server) => await ask(server, request),
    ...(differs && { differs }),
  });
  const reasons = Object.entries(differing) as [keyof typeof because, readonly Request[]][];
  return [
    ...requests.map((request) => row(request)),
    ...reasons.flatMap(([reason, list]) => list.map((request) => row(request, { why: because[reason], serval: refused }))),
  ];
}

/** A tracking server with short forms for the requests that the behaviours need. */
export class Asked {
  readonly url: string;
  /** Where experiments may have their files on this machine. */
  readonly localDir: string;
  #made = 0;
  /** What behaviours share: made once, because each request to MLflow takes its time. */
  readonly #shared = new Map<string, Promise<unknown>>();

  constructor(url: string, localDir: string) {
    this.url = url;
    this.localDir = localDir;
  }

  async shared<Thing>(name: string, make: (server: Asked) => Promise<Thing>): Promise<Thing> {
    const made = this.#shared.get(name) ?? make(this);
    this.#shared.set(name, made);
    return (await made) as Thing;
  }

  /** A name that no other behaviour uses, the same on both servers. */
  newName(what: string): string {
    return `${what}-${++this.#made}`;
  }

  async get(path: string, query: Record<string, string | number | readonly string[]> = {}): Promise<Answer> {
    return await this.send("GET", `${path}${toQuery(query)}`);
  }

  async post(path: string, body: unknown): Promise<Answer> {
    return await this.send("POST", path, JSON.stringify(body));
  }

  async patch(path: string, body: unknown): Promise<Answer> {
    return await this.send("PATCH", path, JSON.stringify(body));
  }

  async delete(path: string, body: unknown): Promise<Answer> {
    return await this.send("DELETE", path, JSON.stringify(body));
  }

  /** `path` is below /api/2.0/mlflow/, or begins with a slash. */
  async send(method: string, path: string, body?: string | Uint8Array<ArrayBuffer>, type = "application/json"): Promise<Answer> {
    const url = path.startsWith("/") ? path : `/api/2.0/mlflow/${path}`;
    const headers = body === undefined ? {} : { "content-type": type };
    const ask = async (): Promise<Response> => await fetch(`${this.url}${url}`, { method, headers, ...(body !== undefined && { body }) });
    const response = await ask().catch(async (error: unknown) => {
      // MLflow ends a connection after an internal error, sometimes while the next request is on it already.
      if (((error as Error).cause as NodeJS.ErrnoException | undefined)?.code !== "ECONNRESET") throw error;
      return await ask();
    });
    const text = (await response.text()) || "{}";
    let answer: unknown = text;
    try {
      // In histories of several runs MLflow writes NaN, which is not JSON.
      answer = JSON.parse(text.replaceAll(/:\s*NaN\b/g, ':"NaN"'));
    } catch {
      // The bytes of a file.
    }
    const { status } = response;
    if (status < 400) return { status, body: answer };
    const code = (answer as { error_code?: string } | null)?.error_code;
    return { status, ...(code !== undefined && { code }) };
  }

  async experiment(name: string = this.newName("experiment"), more: Json = {}): Promise<string> {
    return await this.#field("experiment_id", "experiments/create", { name, ...more });
  }

  async run(experimentId: string, more: Json = {}): Promise<string> {
    const { body } = await this.post("runs/create", { experiment_id: experimentId, start_time: 1, run_name: "run", ...more });
    return (body as { run: { info: { run_id: string } } }).run.info.run_id;
  }

  /** A run in the experiment that all share. */
  async newRun(more: Json = {}): Promise<string> {
    return await this.run(await this.shared("runs", (server) => server.experiment("runs")), more);
  }

  async model(name: string = this.newName("model"), more: Json = {}): Promise<string> {
    await this.post("registered-models/create", { name, ...more });
    return name;
  }

  async #field(field: string, path: string, body: Json): Promise<string> {
    const answer = await this.post(path, body);
    const value = (answer.body as Json | undefined)?.[field];
    if (typeof value !== "string") throw new Error(`${path} ${JSON.stringify(body)}: ${JSON.stringify(answer)}`);
    return value;
  }
}

function toQuery(query: Record<string, string | number | readonly string[]>): string {
  const pairs = Object.entries(query).flatMap(([key, value]) => [value].flat().map((one): [string, string] => [key, String(one)]));
  return pairs.length === 0 ? "" : `?${new URLSearchParams(pairs).toString()}`;
}

const times = /"((?:creation|last_update|start|end)_time|(?:creation|last_updated)_timestamp(?:_ms)?)":(\d{10,})/g;

/** An answer without what differs from server to server: ids, by the order in which they come, and times that the server took. */
export function comparable(answer: unknown): unknown {
  const ids = new Map<string, string>();
  const text: string = JSON.stringify(answer ?? null)
    .replaceAll(times, '"$1":"a time"')
    .replaceAll(/"experiment_id":"[1-9]\d*"/g, '"experiment_id":"a number"')
    .replaceAll(/mlflow-artifacts:\/\d+\//g, "mlflow-artifacts:/a number/")
    .replaceAll(/[0-9a-f]{32}/g, (id: string) => {
      if (!ids.has(id)) ids.set(id, `id ${ids.size + 1}`);
      return ids.get(id) as string;
    });
  return sorted(JSON.parse(text));
}

/** protobuf makes no difference between such a message that is empty and none. */
function isEmpty(key: string, child: unknown): boolean {
  return ["inputs", "outputs", "run_link", "description"].includes(key) && (JSON.stringify(child) === "{}" || child === "");
}

/** Lists of tags, params and metrics have no order. Workspaces are left out. */
function sorted(value: unknown): unknown {
  if (typeof value !== "object" || value === null) return value;
  if (!Array.isArray(value))
    return Object.fromEntries(
      Object.entries(value).flatMap(([key, child]) => (key === "workspace" || isEmpty(key, child) ? [] : [[key, sorted(child)]])),
    );
  const items = value.map(sorted);
  if (!items.every((item) => typeof item === "object" && item !== null && "key" in item)) return items;
  return items.sort((a, b) => (JSON.stringify(a) < JSON.stringify(b) ? -1 : 1));
}
