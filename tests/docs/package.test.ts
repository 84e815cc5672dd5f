import { execFile } from "node:child_process";
import { mkdir, mkdtemp, readFile, rm, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { dirname, join } from "node:path";
import { promisify } from "node:util";
import { afterAll, beforeAll, expect, inject, test } from "vitest";
import { startServal } from "../helpers/serval-process.ts";
import { writeTinyBundle } from "../helpers/tiny-bundle.ts";
import { root } from "./blocks.ts";

const run = promisify(execFile);
const built = join(inject("clone"), "build/package");
let dir: string;

beforeAll(async () => {
  dir = join(await mkdtemp(join(tmpdir(), "serval-package-")), "program");
  await run("cp", ["--archive", "--link", inject("installed"), dir]);
  await writeTinyBundle(join(dir, "bundle"));
});
afterAll(async () => {
  await rm(dirname(dir), { recursive: true, force: true });
});

test("publint and attw find nothing wrong with the package", async () => {
  const { stdout } = await run("npx", ["publint", built, "--strict"], { cwd: root });
  expect(stdout).toContain("All good!");
  await run("npx", ["attw", "--profile", "esm-only", "--pack", built], { cwd: root });
});

test("`serval up` of the installed package trains on the drawn sample and serves, and its types and functions can be imported", async () => {
  const service = startServal(dir, ["up"], { SERVAL_PORT: "0" }, join(dir, "node_modules/.bin/serval"));
  const health = await (await fetch(`${await service.address()}/health`)).json();
  expect(health).toMatchObject({ status: "ok", model: { name: "drawn-sample" } });
  expect((await service.stop("SIGTERM")).code).toBe(0);
  const program = `import { loadBundle, ServalError } from "serval"; console.log(typeof loadBundle, ServalError.name);`;
  await writeFile(join(dir, "import.mjs"), program);
  expect((await run(process.execPath, ["import.mjs"], { cwd: dir })).stdout.trim()).toBe("function ServalError");
});

/** Runs a program of the project that the package is installed in, and gives what it printed. */
async function runProgram(name: string, text: string): Promise<unknown> {
  await writeFile(join(dir, name), text);
  const { stdout } = await run(process.execPath, [name], { cwd: dir, timeout: 60_000 });
  return JSON.parse(stdout);
}

test("everything that the package exports lies in it, as JavaScript and as types", async () => {
  const { exports, bin } = JSON.parse(await readFile(join(built, "package.json"), "utf8")) as {
    exports: { ".": { types: string; default: string } };
    bin: { serval: string };
  };
  expect(exports).toEqual({ ".": { types: "./dist/index.d.ts", default: "./dist/index.js" } });
  const { stdout } = await run("npm", ["pack", "--dry-run", "--json"], { cwd: built });
  const [{ files }] = JSON.parse(stdout) as [{ files: { path: string }[] }];
  const paths = files.map(({ path }) => path);
  expect(paths).toEqual(expect.arrayContaining(["dist/index.js", "dist/index.d.ts", bin.serval]));
  expect(paths.filter((path) => path.endsWith(".ts") && !path.endsWith(".d.ts"))).toEqual([]);
});

const strict = {
  compilerOptions: {
    target: "es2023",
    lib: ["es2023", "esnext.disposable"],
    module: "nodenext",
    types: ["node"],
    typeRoots: [join(root, "node_modules/@types")],
    strict: true,
    noUncheckedIndexedAccess: true,
    exactOptionalPropertyTypes: true,
    noEmit: true,
    // Of the package and of all that its types refer to.
    skipLibCheck: false,
  },
};

test("a strict TypeScript project compiles against the package, without skipLibCheck, and misuse does not", async () => {
  const project = join(dir, "strict");
  await mkdir(project, { recursive: true });
  await writeFile(join(project, "package.json"), '{ "type": "module" }');
  const lines = [
    'import { readFile } from "node:fs/promises";',
    'import { loadClassifier, ServalError, type Classification, type LoadedClassifier } from "serval";',
    'const classifier: LoadedClassifier = await loadClassifier("models/roses", { workers: 1 });',
    'const answer: Classification = await classifier.classify(await readFile("photo.jpg"));',
    "const label: string = answer.label;",
    "const share: number | undefined = answer.probabilities[label];",
    'try { await classifier.classify(new Uint8Array()); } catch (error) { if (error instanceof ServalError) console.log(error.code === "E_IMAGE_EMPTY", share); }',
    "await classifier.close();",
  ];
  await writeFile(join(project, "tsconfig.json"), JSON.stringify({ ...strict, files: ["right.ts", "common.cts"] }));
  await writeFile(join(project, "right.ts"), `${lines.join("\n")}\n`);
  await writeFile(
    join(project, "common.cts"),
    'import serval = require("serval");\nexport const load: typeof serval.loadClassifier = serval.loadClassifier;\n',
  );
  const tsc = async (): Promise<string> =>
    await run(process.execPath, [join(root, "node_modules/typescript/bin/tsc"), "-p", project], { cwd: project }).then(
      ({ stdout }) => stdout,
      ({ stdout }: { stdout: string }) => stdout,
    );
  expect(await tsc()).toBe("");
  await writeFile(
    join(project, "right.ts"),
    'import { loadClassifier } from "serval";\n(await loadClassifier(1)).classify("photo.jpg");\n',
  );
  expect((await tsc()).match(/error TS2345/g)).toHaveLength(2);
});

const answers = `
  const picture = await readFile("bundle/checks/red.jpg");
  const { label } = await classifier.classify(picture);
  const refused = await classifier.classify(Buffer.from("no picture")).catch((error) => error);
  await classifier.close();
  console.log(JSON.stringify({ label, code: refused.code, known: refused instanceof ServalError }));
`;
const answered = { label: "red", code: "E_IMAGE_FORMAT", known: true };

test("an ESM program and a CommonJS program classify a picture with the package", async () => {
  const esm = `
    import { readFile } from "node:fs/promises";
    import { loadClassifier, ServalError } from "serval";
    const classifier = await loadClassifier("bundle");${answers}`;
  expect(await runProgram("program.mjs", esm)).toEqual(answered);
  const common = `
    const { readFile } = require("node:fs/promises");
    const { loadClassifier, ServalError } = require("serval");
    void (async () => {
      const classifier = await loadClassifier("bundle");${answers}
    })();`;
  expect(await runProgram("program.cjs", common)).toEqual(answered);
});

test("Fastify, and a handler with the arguments that Express gives, answer with the package inside", async () => {
  const program = `
    import { createServer } from "node:http";
    import { readFile } from "node:fs/promises";
    import { buffer } from "node:stream/consumers";
    import { fastify } from "fastify";
    import { loadClassifier } from "serval";
    const classifier = await loadClassifier("bundle");
    const app = fastify();
    app.addContentTypeParser("image/jpeg", { parseAs: "buffer" }, (request, body, done) => done(null, body));
    app.post("/classify", async (request) => await classifier.classify(request.body));
    const addresses = [await app.listen({ port: 0, host: "127.0.0.1" }) + "/classify"];
    const handler = async (request, response) => response.end(JSON.stringify(await classifier.classify(await buffer(request))));
    const server = createServer(handler).listen(0, "127.0.0.1", async () => {
      addresses.push("http://127.0.0.1:" + server.address().port);
      const body = await readFile("bundle/checks/red.jpg");
      const ask = async (url) => (await (await fetch(url, { method: "POST", headers: { "content-type": "image/jpeg" }, body })).json()).label;
      console.log(JSON.stringify(await Promise.all(addresses.map(ask))));
      server.close();
      server.closeAllConnections();
      await app.close();
      await classifier.close();
    });`;
  expect(await runProgram("servers.mjs", program)).toEqual(["red", "red"]);
});
