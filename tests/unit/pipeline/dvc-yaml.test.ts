import { describe, expect, test } from "vitest";
import { parsePipeline } from "../../../src/pipeline/dvc-files/dvc-yaml.ts";
import { buildGraph, selectStages } from "../../../src/pipeline/run/graph.ts";
import { renderLock, type LockedStage } from "../../../src/pipeline/dvc-files/lock-file.ts";
import type { Stage } from "../../../src/pipeline/dvc-files/stage.ts";

const parse = (text: string, files: Readonly<Record<string, string>> = {}, file = "dvc.yaml"): Stage[] => [
  ...parsePipeline(text, file, (path) => files[path]).stages,
];
const stage = (lines: string): string => `stages:\n  one:\n    cmd: go\n${lines.replaceAll(/^/gm, "    ")}\n`;
function problem(run: () => unknown): string {
  try {
    run();
  } catch (error) {
    return (error as Error).message;
  }
  return "no error";
}

describe("a field that Serval does not run", () => {
  test.each([
    ["wether: true", /^dvc\.yaml:4: stages\.one\.wether: unknown field "wether"; expected one of cmd, wdir, deps/],
    ["foreach: [1, 2]\ndo:\n  cmd: go", /^dvc\.yaml:3: stages\.one\.cmd: unknown field "cmd"; expected one of foreach, do\.$/],
    ["matrix: [1]", /^dvc\.yaml:4: stages\.one\.matrix: expected a mapping, got a list\.$/],
    ["matrix:\n  a: 1", /^dvc\.yaml:5: stages\.one\.matrix\.a: expected a list, got 1\.$/],
    ["matrix:\n  a: [1]\ndo: {}", /^dvc\.yaml:6: stages\.one\.do: unknown field "do"/],
    ["outs:\n  - a:\n      cash: true", /^dvc\.yaml:6: stages\.one\.outs\.0\.a\.cash: unknown field "cash"; expected one of cache/],
    ["deps: a", /^dvc\.yaml:4: stages\.one\.deps: expected a list, got "a"\.$/],
    ["deps: [1]", /^dvc\.yaml:4: stages\.one\.deps\.0: expected a string, got 1\.$/],
    ["frozen: perhaps", /^dvc\.yaml:4: stages\.one\.frozen: frozen: expected true or false, got "perhaps"\.$/],
    ["deps: [a]\nouts: [a]", /"a" is named twice/],
    ["outs: [../a]", /"..\/a" lies outside the repository/],
    ["deps: ['s3://bucket/a']", /addresses are not supported yet/],
    ["params: ['${train.epochs}']", /no file of `vars` and no params\.yaml has "train\.epochs"/],
  ])("is named with its line: %s", (lines, expected) => {
    expect(() => parse(stage(lines))).toThrow(expect.objectContaining({ code: "E_PIPELINE", message: expect.stringMatching(expected) }));
  });

  test("is named at the top of the file as well, and so is text that is not YAML", () => {
    expect(problem(() => parse("stages: {}\nstage: {}\n"))).toMatch(/^dvc\.yaml:2: stage: unknown field "stage"/);
    expect(problem(() => parse("stages:\n  a: [\n"))).toMatch(/^dvc\.yaml:\d: /);
    expect(problem(() => parse("stages:\n  a:\n    deps: []\n"))).toMatch(/^dvc\.yaml:2: stages\.a: expected `cmd`/);
  });
});

describe("a template of stages", () => {
  const files = { "params.yaml": "models: [small, large]\nsets:\n  day: {lux: 900}\n  night: {lux: 1}\n" };
  const read = (lines: string): Stage[] => parse(`stages:\n  fit:\n${lines.replaceAll(/^/gm, "    ")}\n`, files);
  const told = ({ name, cmd, outs }: Stage): unknown[] => [name, cmd, ...outs.map(({ path }) => path)];

  test("gives a stage for each value of a list", () => {
    const stages = read("foreach: ${models}\ndo:\n  wdir: ${item}\n  cmd: go ${item}\n  outs: [out]");
    expect(stages.map(told)).toEqual([
      ["fit@small", "go small", "small/out"],
      ["fit@large", "go large", "large/out"],
    ]);
    expect(read("foreach: [1.0, true, 1.0]\ndo:\n  cmd: go ${item}").map(told)).toEqual([
      ["fit@1.0", "go 1.0"],
      ["fit@true", "go true"],
    ]);
    expect(read("foreach: []\ndo:\n  cmd: go")).toEqual([]);
  });

  test("gives a stage for each key of a mapping, and counts values that are mappings", () => {
    expect(read("foreach: ${sets}\ndo:\n  cmd: go ${key} ${item.lux}").map(told)).toEqual([
      ["fit@day", "go day 900"],
      ["fit@night", "go night 1"],
    ]);
    expect(read("foreach:\n  - {a: 5}\n  - {a: 6}\ndo:\n  cmd: go ${item.a}").map(told)).toEqual([
      ["fit@0", "go 5"],
      ["fit@1", "go 6"],
    ]);
  });

  test("gives a stage for each combination of a matrix", () => {
    const stages = read("matrix:\n  model: ${models}\n  set: [a, {b: 7}]\ncmd: go ${item.model}\nouts: ['${key}.txt']");
    expect(stages.map(told)).toEqual([
      ["fit@small-a", "go small", "small-a.txt"],
      ["fit@small-set1", "go small", "small-set1.txt"],
      ["fit@large-a", "go large", "large-a.txt"],
      ["fit@large-set1", "go large", "large-set1.txt"],
    ]);
  });

  test("is the name of all of its stages, and each of them has its own", () => {
    const graph = buildGraph(read("foreach: ${models}\ndo:\n  cmd: go\n  outs: ['${item}']"), []);
    expect(selectStages(graph, ["fit"]).map(({ name }) => name)).toEqual(["fit@small", "fit@large"]);
    expect(selectStages(graph, ["fit@large"]).map(({ name }) => name)).toEqual(["fit@large"]);
    expect(problem(() => selectStages(graph, ["fit@huge"]))).toMatch(/Unknown target "fit@huge"/);
  });

  test("knows `key` only where there are keys", () => {
    expect(problem(() => read("foreach: [a]\ndo:\n  cmd: go ${key}"))).toMatch(/^dvc\.yaml:5: stages\.fit\.do\.cmd: \$\{key\}: no file/);
  });
});

describe("variables", () => {
  const files = {
    "params.yaml": "train:\n  epochs: 3\n  layers: [8, 16]\nname: cats\n",
    "more.yaml": "paths:\n  data: data/raw\nrate: 1.0\nflags:\n  fast: true\n  slow: false\n  depth: 2\n  tag: a b\n",
  };

  test("come from params.yaml, from files of vars and from vars themselves", () => {
    const text = `vars:\n  - more.yaml\n  - own: x1\nstages:\n  one:\n    cmd: go --n \${train.layers[1]} --rate \${rate} \${own} \\\${HOME}\n    deps: ["\${paths.data}"]\n    outs: ["\${name}.txt"]\n    params: ["train.epochs"]\n`;
    const [one] = parse(text, files);
    expect(one?.cmd).toBe("go --n 16 --rate 1.0 x1 ${HOME}");
    expect([one?.deps[0]?.path, one?.outs[0]?.path, one?.params[0]?.keys]).toEqual(["data/raw", "cats.txt", ["train.epochs"]]);
  });

  test("of a mapping become the arguments of a command", () => {
    const [one] = parse("vars: [more.yaml]\nstages:\n  one:\n    cmd: go ${flags}\n", files);
    expect(one?.cmd).toBe("go --fast --depth 2 --tag 'a b'");
  });

  test("with two values are an error that names the key", () => {
    expect(problem(() => parse("vars:\n  - name: dogs\nstages: {}\n", files))).toMatch(
      /^dvc\.yaml:2: vars\.0: vars: "name" has another value/,
    );
  });
});

describe("the graph", () => {
  const graphOf = (text: string, data: { path: string; source: string }[] = []): ReturnType<typeof buildGraph> =>
    buildGraph(parse(text), data);

  test("names the stages of a cycle", () => {
    const text =
      "stages:\n  a:\n    cmd: x\n    deps: [c.txt]\n    outs: [a.txt]\n  b:\n    cmd: x\n    deps: [a.txt]\n    outs: [c.txt]\n";
    expect(problem(() => graphOf(text))).toBe('The stages form a cycle: "a" reads from "b" reads from "a".');
  });

  test("names two stages that write one path, one inside another's, and a stage that writes versioned data", () => {
    const two = (a: string, b: string): string => `stages:\n  a:\n    cmd: x\n    outs: [${a}]\n  b:\n    cmd: x\n    outs: [${b}]\n`;
    expect(problem(() => graphOf(two("m", "m")))).toMatch(/^"m" is written by stage "a" and by stage "b"/);
    expect(problem(() => graphOf(two("m", "m/x")))).toMatch(/^"m\/x" of stage "b" lies inside "m", which stage "a" writes/);
    expect(problem(() => graphOf(two("m", "n"), [{ path: "n", source: "n.dvc" }]))).toMatch(/^"n" is written by stage "b" and by n\.dvc/);
  });

  test("joins a stage to the stages that write a file in the folder that it reads, or the folder around it", () => {
    const graph = graphOf(
      "stages:\n  use:\n    cmd: x\n    deps: [data, model/w.bin]\n  b:\n    cmd: x\n    outs: [model]\n  a:\n    cmd: x\n    outs: [data/a.txt]\n",
    );
    const use = graph.stages.find(({ name }) => name === "use") as Stage;
    expect(graph.upstream(use).map(({ name }) => name)).toEqual(["a", "b"]);
    expect(graph.stages.map(({ name }) => name)).toEqual(["a", "b", "use"]);
  });

  test("selects a target with all that it reads from, and lists the stages for one that is not there", () => {
    const graph = graphOf(
      "stages:\n  a:\n    cmd: x\n    outs: [a.txt]\n  b:\n    cmd: x\n    deps: [a.txt]\n    outs: [b.txt]\n  c:\n    cmd: x\n    outs: [c.txt]\n",
    );
    const names = (...targets: string[]): string[] => selectStages(graph, targets).map(({ name }) => name);
    expect([names("b"), names("b.txt"), names("dvc.yaml:c"), names("dvc.yaml")]).toEqual([["a", "b"], ["a", "b"], ["c"], ["a", "b", "c"]]);
    expect(problem(() => names("d"))).toBe('Unknown target "d": expected a stage, a dvc.yaml or an out. The stages are: a, b, c.');
  });
});

describe("dvc.lock", () => {
  const entry: LockedStage = { cmd: "go", deps: [], params: new Map(), outs: [{ path: "a", md5: "d".repeat(32), size: 1 }] };

  test("of another schema, or with a field of a newer DVC, is refused and not written over", () => {
    expect(problem(() => renderLock("schema: '3.0'\nstages: {}\n", "dvc.lock", "one", entry))).toMatch(
      /^dvc\.lock: expected schema '2\.0', got "3\.0": another version of DVC wrote it\.$/,
    );
    expect(problem(() => renderLock("schema: '2.0'\nruns: {}\n", "dvc.lock", "one", entry))).toMatch(
      /^dvc\.lock:2: unknown field "runs": a newer DVC/,
    );
  });

  test("keeps the other stages and their order", () => {
    const first = renderLock(undefined, "dvc.lock", "one", entry);
    const both = renderLock(first, "dvc.lock", "two", entry);
    const again = renderLock(both, "dvc.lock", "one", { ...entry, cmd: "other" });
    expect(again).toBe(both.replace("cmd: go", "cmd: other"));
  });
});
