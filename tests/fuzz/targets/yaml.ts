import { parseParams } from "../../../src/config/params.ts";
import { renderParams } from "../../../src/config/params-template.ts";
import { parseDataFile } from "../../../src/pipeline/dvc-files/data-file.ts";
import { renderDvcFiles } from "../../../src/pipeline/dvc-files/initial-files.ts";
import { parsePipeline } from "../../../src/pipeline/dvc-files/dvc-yaml.ts";
import { parseLock } from "../../../src/pipeline/dvc-files/lock-file.ts";
import { isYamlMap, parseYaml, sameValue, toPlain, type YamlValue } from "../../../src/pipeline/dvc-files/yaml-values.ts";
import { renderYaml } from "../../../src/pipeline/dvc-files/yaml-writer.ts";
import { mutateText } from "../mutate.ts";
import { expectRefusal, expectThat, type FuzzTarget } from "../target.ts";

const params = renderParams();
const md5 = "d41d8cd98f00b204e9800998ecf8427e";
const pipeline = `vars:
  - params.yaml
  - a: {b: [1, 2.0, "x"]}
stages:
  one:
    foreach: [a, b]
    do:
      cmd: echo \${item} \${a.b[0]}
      deps: [x/\${item}]
      outs:
        - y/\${item}:
            cache: false
  two:
    matrix: {m: [1, 2], n: \${a.b}}
    wdir: sub
    cmd: [a, b]
    params: [seed, other.yaml: [k]]
metrics: [m.json]
plots:
  - p.csv: {x: a, y: {p.csv: [b, c]}}
`;
const lock = `schema: '2.0'
stages:
  one:
    cmd: echo
    deps: [{path: x, hash: md5, md5: ${md5}, size: 3, isexec: true}]
    params: {params.yaml: {seed: 1, x: 1.0, big: 123456789012345678901234567890}}
    outs: [{path: y, hash: md5, md5: ${md5}.dir, size: 3, nfiles: 2}]
`;
const data = `md5: ${md5}\nouts:\n- md5: ${md5}\n  size: 3\n  hash: md5\n  path: file\nwdir: ..\nmeta: {a: 1}\n`;
const odd = `a: &x [1, *x]\nb: !!set {? a}\n<<: *x\n"c": |\n  text\nd: >-\n  folded\ne: 0x1F\nf: .nan\ng: 1e400\n? [k]\n: v\n--- 2\n...\n`;
const words = [
  ": ",
  "- ",
  "\n",
  "\n  ",
  "&x ",
  "*x",
  "<<: *x",
  "!!int ",
  "!!binary ",
  "| \n",
  ">-\n",
  "{",
  "}",
  "[",
  "]",
  ", ",
  "? ",
  "# ",
  "---\n",
  "...\n",
  "%YAML 1.1\n",
  "null",
  "~",
  "true",
  ".inf",
  "-.nan",
  "0o17",
  "1e999",
  "1_000",
  "9007199254740993",
  "'",
  '"',
  "\\",
  "	",
  "\0",
  "﻿",
  "\u2028",
  "😀",
  "stages",
  "foreach",
  "do",
  "matrix",
  "vars",
  "${",
  "}",
  "${item}",
  "${a.b[0]}",
  "wdir",
  "cmd",
  "deps",
  "params",
  "outs",
  "path",
  "md5",
  "hash",
  "__proto__",
  "constructor",
  "../",
  "/",
  ".git",
  "artifacts",
  "frozen",
  "desc",
  "meta",
  "size",
  "-1",
  "train",
  "data",
  "model",
  "seed",
];

const encode = (text: string): Uint8Array => Buffer.from(text);
const decode = (bytes: Uint8Array): string => Buffer.from(bytes).toString("utf8");

/** params.yaml, dvc.yaml, dvc.lock and .dvc files. What is accepted says the same after it was written and read again. */
export function openYaml(): Promise<FuzzTarget> {
  const files = { params: "params.yaml", pipeline: "dvc.yaml", lock: "dvc.lock", data: "x.dvc" };
  const run = (input: Uint8Array): Promise<void> => {
    const text = decode(input);
    const readers: readonly (readonly [read: () => unknown, codes: Parameters<typeof expectRefusal>[1]])[] = [
      [() => parseParams(text), ["E_PARAMS"]],
      [() => parsePipeline(text, files.pipeline, (path) => (path === files.params ? params : undefined)), ["E_PIPELINE", "E_PARAMS"]],
      [() => parseLock(text, files.lock), ["E_DVC_FILE"]],
      [() => parseDataFile(text, files.data), ["E_DVC_FILE"]],
      [() => checkRoundTrip(text), ["E_PARAMS"]],
    ];
    for (const [read, codes] of readers) {
      try {
        read();
      } catch (error) {
        expectRefusal(error, codes);
      }
    }
    return Promise.resolve();
  };
  const drawn = Object.values(renderDvcFiles({ command: "npx serval" }));
  return Promise.resolve({
    seeds: [params, pipeline, lock, data, odd, ...drawn].map(encode),
    mutate: mutateText(words),
    guided: true,
    run,
  });
}

function checkRoundTrip(text: string): void {
  const { value } = parseYaml(text, "x.yaml", "E_PARAMS");
  if (!isYamlMap(value) || value.size === 0) return;
  const again = parseYaml(renderYaml(value), "x.yaml", "E_PARAMS").value;
  if (sameValue(value, again)) return;
  // DVC's writer (ruamel.yaml 0.18) loses spaces where it folds a line after a run of them, and adds one where it folds a run of control
  // characters. dvc.lock must be the same bytes.
  const words = (one: YamlValue): string => (JSON.stringify(toPlain(one)) ?? "").replaceAll(/ +/g, "");
  expectThat(words(value) === words(again), "YAML that was read, written and read again says something else");
}
