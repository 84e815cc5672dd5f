/**
 * The program in a few files of JavaScript instead of a thousand: what the image runs, ready in about half the time.
 * `npm run build:program` writes them to dist/; each bundled package stays in node_modules, for scanners and licences.
 */
import { globSync } from "node:fs";
import { basename } from "node:path";
import { defineConfig } from "rolldown";

// A thread is started from the file beside the code that starts it, so all but the command line lie side by side.
const threads = globSync("src/**/*-worker.ts").map((path) => [basename(path, ".ts"), path] as const);

export default defineConfig({
  platform: "node",
  input: { "cli/main": "src/cli/main.ts", ...Object.fromEntries(threads) },
  // These have native code or extra files, or are large and seldom needed.
  external: [/^onnxruntime-node/, /^sharp/, /^@fastify\/swagger-ui/, /^echarts/, /^@aws-sdk\//],
  output: { dir: "dist", cleanDir: true },
});
