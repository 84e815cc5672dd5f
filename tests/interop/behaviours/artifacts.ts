import { mkdir, writeFile } from "node:fs/promises";
import { join } from "node:path";
import { fileURLToPath, pathToFileURL } from "node:url";
import { each, type Answer, type Asked, type Behaviour } from "./behaviour.ts";

const proxy = "/api/2.0/mlflow-artifacts/artifacts";
const upload = "/ajax-api/2.0/mlflow/upload-artifact";

/** A run with files of several kinds. */
async function pack(server: Asked): Promise<{ run: string; root: string }> {
  const run = await server.run(await server.experiment("files"));
  const { body } = await server.get("runs/get", { run_id: run });
  const uri = (body as { run: { info: { artifact_uri: string } } }).run.info.artifact_uri;
  const root = uri.slice("mlflow-artifacts:/".length);
  for (const [path, content] of [
    ["a.txt", "alpha"],
    ["empty", ""],
    ["sub/b.json", '{"b": 1}'],
    ["sub/deep/c%20d.bin", "\u0000\u0001"],
  ] as const)
    await server.send("PUT", `${proxy}/${root}/${path}`, content, "application/octet-stream");
  return { run, root };
}

/** Paths that a request may name, sound and hostile. */
const paths = [
  "",
  "a.txt",
  "sub",
  "sub/",
  "sub/b.json",
  "sub/deep",
  "sub/deep/c d.bin",
  "nothing",
  "a.txt/b",
  "..",
  "../",
  "sub/../a.txt",
  "/a.txt",
  "/etc/passwd",
  "file:///etc/passwd",
  "%2e%2e/x",
  "%252e%252e/x",
  "a.txt#b",
  "c:\\x",
  "./a.txt",
  "sub//b.json",
];

/** What a download is: its status and its start. */
function shown(answer: Answer): unknown {
  return answer.status === 200 && typeof answer.body === "string" ? { status: 200, body: answer.body.slice(0, 40) } : answer;
}

export const artifactBehaviours: readonly Behaviour[] = [
  ...each("files of a run below", paths, { drops: ["sub\\b.json"] }, async (server, path) => {
    const { run } = await server.shared("files", pack);
    return await server.get("artifacts/list", { run_id: run, path });
  }),
  {
    name: "files of a run, and of none",
    ask: async (server) => {
      const { run } = await server.shared("files", pack);
      const answers = [];
      for (const query of [
        { run_id: run },
        { run_uuid: run },
        { run_uuid: run, path: "sub" },
        { run_id: "none" },
        { run_id: "" },
        {},
        { run_id: await server.newRun() },
      ])
        answers.push(await server.get("artifacts/list", query));
      return answers;
    },
  },
  ...each("a download of", paths, {}, async (server, path) => {
    const { run } = await server.shared("files", pack);
    return shown(await server.get("/get-artifact", { run_id: run, path }));
  }),
  {
    name: "a download by the name that a run's id had first, and of no run",
    ask: async (server) => {
      const { run } = await server.shared("files", pack);
      const answers = [];
      for (const query of [
        { run_uuid: run, path: "a.txt" },
        { run_id: "none", path: "a.txt" },
      ])
        answers.push(shown(await server.get("/get-artifact", query)));
      return answers;
    },
  },
  {
    name: "uploads of MLflow's pages: raw bodies, whatever their type",
    ask: async (server) => {
      const run = await server.newRun();
      const answers = [];
      for (const [path, content, type] of [
        ["a.txt", "raw text", "text/plain"],
        ["deep/down/b.json", '{"b": 1}', "application/json"],
        ["not.json", '{"b": ', "application/json"],
        ["bytes", "\u0000\u0001\u0002", "application/octet-stream"],
        ["a.txt", "again", "text/plain"],
        ["empty", "", "text/plain"],
        ["../up", "x", "text/plain"],
        ["/etc/x", "x", "text/plain"],
        ["%2e%2e/x", "x", "text/plain"],
        ["", "x", "text/plain"],
      ] as const) {
        const query = new URLSearchParams({ run_uuid: run, path });
        const { status, code } = await server.send("POST", `${upload}?${query.toString()}`, content, type);
        answers.push([path, content, status, code]);
      }
      const list = await server.get("artifacts/list", { run_id: run });
      const down = await server.get("artifacts/list", { run_id: run, path: "deep/down" });
      return [
        answers,
        list,
        down,
        shown(await server.get("/get-artifact", { run_uuid: run, path: "a.txt" })),
        await server.get("/get-artifact", { run_uuid: run, path: "deep/down/b.json" }),
      ];
    },
  },
  {
    name: "uploads of MLflow's pages that say too little, or are too large",
    ask: async (server) => {
      const run = await server.newRun();
      const answers = [];
      for (const query of [{}, { path: "a" }, { run_uuid: run }, { run_uuid: "", path: "a" }, { run_uuid: "none", path: "a" }])
        answers.push(
          await server.send("POST", `${upload}?${new URLSearchParams(query as Record<string, string>).toString()}`, "x", "text/plain"),
        );
      const large = new Uint8Array(10 * 1024 * 1024 + 1);
      const { status } = await server.send("POST", `${upload}?run_uuid=${run}&path=large`, large, "application/octet-stream");
      return [answers, status, await server.get("artifacts/list", { run_id: run })];
    },
  },
  {
    name: "the proxy: put, get, list and delete",
    ask: async (server) => {
      const base = `${proxy}/${server.newName("proxy")}`;
      const answers = [];
      for (const [method, path, content] of [
        ["PUT", "/a", "one"],
        ["PUT", "/a", "two"],
        ["PUT", "/b/c", ""],
        ["GET", "/a"],
        ["GET", "/b/c"],
        ["GET", "/nothing"],
        ["DELETE", "/nothing"],
        ["DELETE", "/b"],
        ["GET", "/b/c"],
        ["GET", "/..%2f..%2fx"],
        ["DELETE", "/..%2f..%2fx"],
      ] as const) {
        const { status, code, body } = await server.send(method, `${base}${path}`, content, "application/octet-stream");
        answers.push([method, path, status, code, body]);
      }
      answers.push(
        await server.get(proxy, { path: base.slice(proxy.length + 1) }),
        await server.get(proxy, { path: "nothing" }),
        await server.get(proxy, { path: "../" }),
      );
      return answers;
    },
  },
  ...each<readonly [method: string, path: string]>(
    "the proxy",
    [],
    {
      fails: [
        ["PUT", "a/b"],
        ["PUT", "folder"],
        ["GET", "folder"],
      ],
    },
    async (server, [method, path]) => {
      await server.send("PUT", `${proxy}/mixed/a`, "x", "application/octet-stream");
      await server.send("PUT", `${proxy}/mixed/folder/b`, "x", "application/octet-stream");
      return await server.send(method, `${proxy}/mixed/${path}`, method === "PUT" ? "x" : undefined, "application/octet-stream");
    },
  ),
  {
    name: "an experiment whose files lie in a folder of this machine",
    ask: async (server) => {
      const folder = join(server.localDir, "mine");
      const experiment = await server.experiment(server.newName("local"), { artifact_location: pathToFileURL(folder).href });
      const run = await server.run(experiment);
      const { body } = await server.get("runs/get", { run_id: run });
      const uri = (body as { run: { info: { artifact_uri: string } } }).run.info.artifact_uri;
      // What MLflow's client does: such files do not pass through the server.
      await mkdir(join(fileURLToPath(uri), "sub"), { recursive: true });
      await writeFile(join(fileURLToPath(uri), "sub", "a.txt"), "local");
      const name = await server.model();
      const answers = [
        uri.slice(pathToFileURL(folder).href.length),
        await server.get("artifacts/list", { run_id: run }),
        await server.get("artifacts/list", { run_id: run, path: "sub" }),
        await server.get("artifacts/list", { run_id: run, path: "../.." }),
        shown(await server.get("/get-artifact", { run_id: run, path: "sub/a.txt" })),
        await server.get("/get-artifact", { run_id: run, path: "../../../secret" }),
        await server.post("model-versions/create", { name, source: `${uri}/sub`, run_id: run }),
        await server.post("model-versions/create", { name, source: `${uri}/../sub`, run_id: run }),
        await server.post("model-versions/create", { name, source: `${uri}/sub` }),
        await server.post("model-versions/create", { name, source: pathToFileURL(folder).href, run_id: run }),
        shown(await server.get("/model-versions/get-artifact", { name, version: 1, path: "a.txt" })),
      ];
      return JSON.parse(JSON.stringify(answers).replaceAll(server.localDir, "LOCAL")) as unknown;
    },
  },
  {
    name: "parts of large files are refused, so that clients send them whole",
    ask: async (server) => [
      await server.post("/api/2.0/mlflow-artifacts/mpu/create/a", { path: "a", num_parts: 2 }),
      await server.post("/api/2.0/mlflow-artifacts/mpu/complete/a", { path: "a", upload_id: "u", parts: [] }),
      await server.post("/api/2.0/mlflow-artifacts/mpu/abort/a", { path: "a", upload_id: "u" }),
    ],
  },
  {
    name: "files of a version",
    ask: async (server) => {
      const { run, root } = await server.shared("files", pack);
      const name = await server.model();
      await server.post("model-versions/create", { name, source: `mlflow-artifacts:/${root}/sub`, run_id: run });
      const answers = [];
      for (const query of [
        { name, version: "1", path: "b.json" },
        { name, version: "1", path: "nothing" },
        { name, version: "1", path: "../a.txt" },
        { name, version: "9", path: "b.json" },
        { name: "nothing", version: "1", path: "b.json" },
        { version: "1", path: "b.json" },
      ] as Record<string, string>[])
        answers.push(shown(await server.get("/model-versions/get-artifact", query)));
      return answers;
    },
  },
];
