import { mkdir, readFile, rm, writeFile } from "node:fs/promises";
import { join } from "node:path";
import { afterAll, beforeAll, describe, expect, test } from "vitest";
import { createDvcRepository, initDrawings, type DvcRepository } from "./dvc-repository.ts";

let repository: DvcRepository;
const at = (path: string): string => join(repository.cwd, path);
const json = (text: string): unknown => JSON.parse(text);

describe("serval repro on the drawn sample", () => {
  beforeAll(async () => {
    repository = await createDvcRepository();
    await initDrawings(repository);
    await repository.serval("repro");
  }, 240_000);
  afterAll(() => repository.remove());

  test("leaves a repository of which dvc says that all is up to date", async () => {
    expect(json(await repository.dvc("status", "--json"))).toEqual({});
    expect(await repository.dvc("repro")).not.toContain("Running stage");
  });

  test("writes dvc.lock byte for byte as `dvc commit` does", async () => {
    const ours = await readFile(at("dvc.lock"), "utf8");
    await rm(at("dvc.lock"));
    await repository.dvc("commit", "--force", "--quiet");
    expect(await readFile(at("dvc.lock"), "utf8")).toBe(ours);
  });

  test("leaves a cache that dvc checks out from, and a run cache that keeps dvc from training again", async () => {
    await rm(at("artifacts"), { recursive: true });
    await repository.dvc("checkout");
    expect(json(await repository.serval("status", "--json"))).toEqual({});
    // Without its entry in dvc.lock, only the run cache can say what the training gave.
    const lock = await readFile(at("dvc.lock"), "utf8");
    await writeFile(at("dvc.lock"), lock.replace(/ {2}train_model:\n[\s\S]*?(?=\n {2}\w|$)/, "").replace(/\n\n/, "\n"));
    await rm(at("artifacts"), { recursive: true });
    const repro = await repository.dvc("repro", "train_model");
    expect(repro).toContain("Stage 'train_model' is cached - skipping run, checking out outputs");
    await repository.dvc("repro");
    expect(json(await repository.serval("status", "--json"))).toEqual({});
  });

  test("agrees with dvc about parameters and metrics of two versions", async () => {
    await repository.git("add", "--all");
    await repository.git("commit", "--quiet", "--message", "two epochs");
    const params = await readFile(at("params.yaml"), "utf8");
    await writeFile(at("params.yaml"), params.replace("epochs: 2", "epochs: 1"));
    await repository.serval("repro");
    for (const what of ["params", "metrics"]) {
      const theirs = json(await repository.dvc(what, "diff", "--json"));
      expect(json(await repository.serval(what, "diff", "--json")), what).toEqual(theirs);
      expect(Object.keys(theirs as object)).toHaveLength(1);
    }
    const page = at("page.html");
    await repository.serval("plots", "HEAD", "--out", page);
    const html = await readFile(page, "utf8");
    expect(html.match(/<svg/g)).toHaveLength(2);
    expect(html).toContain("val_loss (HEAD)");
    expect(html.match(/data:image\/png;base64/g)).toHaveLength(4);
  });

  test("traces the model to its commit, data and parameters, and says what cannot be proved", async () => {
    await repository.git("add", "--all");
    await repository.git("commit", "--quiet", "--message", "one epoch");
    const { links } = json(await repository.serval("lineage", "artifacts/best", "--json")) as {
      links: { link: string; state: string; text: string }[];
    };
    expect(links.map(({ link, state }) => `${link} ${state}`)).toEqual([
      "model proved",
      "stage proved",
      "commit proved",
      "input proved",
      "input proved",
      "data proved",
      "parameters proved",
      "run unproved",
    ]);
    expect(links[2]?.text).toMatch(/one epoch$/);
  });
});

describe("stages that foreach and matrix make", () => {
  const names = async (): Promise<string[]> =>
    (await repository.dvc("stage", "list", "--all", "--name-only")).split("\n").filter(Boolean).toSorted();
  const locked = async (): Promise<string[]> => (await readFile(at("dvc.lock"), "utf8")).match(/(?<=^ {2})\S+(?=:$)/gm)?.toSorted() ?? [];

  beforeAll(async () => {
    repository = await createDvcRepository();
    for (const dir of ["small", "large"]) await mkdir(at(dir));
    await writeFile(at("params.yaml"), "models: [small, large]\nwhere: results\nsets:\n  day: {lux: 900.0}\n  night: {lux: 1}\n");
    await writeFile(
      at("dvc.yaml"),
      `stages:
  fit:
    foreach: \${models}
    do:
      wdir: \${item}
      cmd: echo \${item} > weights
      outs: [weights]
  measure:
    matrix:
      model: \${models}
      set: [true, {kind: dark}]
    cmd: mkdir -p \${where} && echo '{"n":1}' > \${where}/\${key}.json && wc \${item.model}/weights > \${key}.txt
    deps: ["\${item.model}/weights"]
    outs: ["\${key}.txt"]
    metrics:
      - \${where}/\${key}.json:
          cache: false
  light:
    foreach: \${sets}
    do:
      cmd: echo \${item.lux} > \${key}.txt
      params: ["sets.\${key}"]
      outs:
        - \${key}.txt:
            push: false
`,
    );
    await repository.serval("repro");
  }, 120_000);
  afterAll(() => repository.remove());

  test("have the names, the commands and the lock that dvc gives them", async () => {
    expect(await locked()).toEqual(await names());
    expect(await locked()).toHaveLength(8);
    expect(json(await repository.dvc("status", "--json"))).toEqual({});
    const ours = await readFile(at("dvc.lock"), "utf8");
    await rm(at("dvc.lock"));
    await repository.dvc("commit", "--force", "--quiet");
    expect(await readFile(at("dvc.lock"), "utf8")).toBe(ours);
  });

  test("give their outs to checkout and push, where variables say that they lie, and not what Git has", async () => {
    await rm(at("small/weights"));
    expect(await repository.serval("checkout")).toContain("8 of 8 outs");
    expect(await readFile(at("small/weights"), "utf8")).toBe("small\n");
    await repository.dvc("remote", "add", "--default", "shelf", at("shelf"));
    await repository.serval("push");
    expect(json(await repository.dvc("status", "--cloud", "--json"))).toEqual({});
    expect(await repository.dvc("push")).toContain("Everything is up to date");
  });

  test("are separate targets, and one target by the name of the template", async () => {
    await writeFile(at("params.yaml"), (await readFile(at("params.yaml"), "utf8")).replace("900.0", "800").replace("lux: 1", "lux: 2"));
    expect(await repository.serval("repro", "light@night")).toContain("light@night");
    const left = json(await repository.dvc("status", "--json"));
    expect(Object.keys(left as object)).toEqual(["light@day"]);
    expect(json(await repository.serval("status", "--json"))).toEqual(left);
    await repository.serval("repro", "light");
    expect(json(await repository.dvc("status", "--json"))).toEqual({});
  });
});

describe("the state of a pipeline", () => {
  beforeAll(async () => {
    repository = await createDvcRepository();
    const write = async (files: Readonly<Record<string, string>>): Promise<void> => {
      for (const [path, text] of Object.entries(files)) await writeFile(at(path), text);
    };
    await mkdir(at("set"));
    await write({
      "dvc.yaml": `stages:
  copy:
    cmd: cp in.txt a.txt
    deps: [in.txt]
    outs: [a.txt]
  use:
    cmd:
      - mkdir -p dir
      - cat a.txt set/* > dir/b.txt && echo '{"n":1}' > m.json
    deps: [a.txt, set]
    params:
      - train
      - other.json:
    outs: [dir]
    metrics:
      - m.json:
          cache: false
`,
      "in.txt": "1",
      "params.yaml": "train:\n  epochs: 3\n  rate: 0.1\n",
      "other.json": '{"a": 1.0, "b": [1, 2]}',
      "set/ü é.txt": "x",
    });
    await repository.serval("add", "set");
    await repository.serval("repro");
  }, 120_000);
  afterAll(() => repository.remove());

  const edits: readonly (readonly [string, () => Promise<unknown>])[] = [
    ["nothing changed", async () => undefined],
    ["a dep", () => writeFile(at("in.txt"), "2")],
    ["an out that is gone", () => rm(at("a.txt"))],
    ["a file more in an out", () => writeFile(at("dir/new"), "x")],
    ["parameters of a section", () => writeFile(at("params.yaml"), "train:\n  epochs: 4\n  momentum: 0.1\n")],
    ["parameters of a whole file", () => writeFile(at("other.json"), '{"a": 1, "b": [1, 3], "c": 0}')],
    ["versioned data", () => writeFile(at("set/more"), "y")],
    ["a command", async () => writeFile(at("dvc.yaml"), (await readFile(at("dvc.yaml"), "utf8")).replace("cp in.txt", "cp  in.txt"))],
    ["an empty cache", () => rm(at(".dvc/cache/files"), { recursive: true, force: true })],
    ["no lock", () => rm(at("dvc.lock"))],
  ];

  test("is the same for dvc and for Serval, whatever changes", async () => {
    for (const [what, edit] of edits) {
      await edit();
      const theirs = json(await repository.dvc("status", "--json"));
      expect(json(await repository.serval("status", "--json")), what).toEqual(theirs);
    }
  });

  test("is brought up to date by dvc for Serval, and by Serval for dvc", async () => {
    await repository.dvc("repro");
    expect(json(await repository.serval("status", "--json"))).toEqual({});
    await writeFile(at("in.txt"), "3");
    await writeFile(at("set/more"), "z");
    await repository.serval("repro");
    expect(json(await repository.dvc("status", "--json"))).toEqual({});
  });
});
