import { mkdtemp, rm, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { expect, onTestFinished, test } from "vitest";
import { retiredVariables } from "../../../src/config/retired-variables.ts";
import { predictionPlace } from "../../../src/workflows/service/prediction-place.ts";

const stateDir = ".serval";

test("predictions are kept in the state folder, in another file, or in PostgreSQL with the spool in the state folder", async () => {
  const place = async (predictionsUrl: string | null) =>
    await predictionPlace("/project", { predictionsUrl, predictionsPasswordFile: null, stateDir });
  expect(await place(null)).toEqual({ file: "/project/.serval/predictions.db", url: undefined });
  expect(await place("data/answers.db")).toEqual({ file: "/project/data/answers.db", url: undefined });
  const url = "postgres://me:secret@db:5432/serval?sslmode=verify-full";
  expect(await place(url)).toEqual({ file: "/project/.serval/predictions-spool.db", url });
  for (const other of ["mysql://me:secret@db/x", "postgres://me:secret@db:x/y"]) {
    const error = await place(other).catch((thrown: Error) => thrown);
    expect(error).toMatchObject({
      code: "E_ENV",
      message: expect.stringMatching(/^SERVAL_PREDICTIONS_URL: expected postgres:(?![^]*secret)/),
    });
  }
});

test("the password of a file is put into the address, whatever is in it, and a file that is not there is named", async () => {
  const cwd = await mkdtemp(join(tmpdir(), "serval-place-"));
  onTestFinished(async () => await rm(cwd, { recursive: true }));
  await writeFile(join(cwd, "password"), "p@ss/word: 7%\n");
  const place = async (predictionsPasswordFile: string) =>
    await predictionPlace(cwd, { predictionsUrl: "postgres://serval@predictions/serval", predictionsPasswordFile, stateDir });
  const { url = "" } = await place("password");
  expect(decodeURIComponent(new URL(url).password)).toBe("p@ss/word: 7%");
  expect(url).toMatch(/^postgres:\/\/serval:\S+@predictions\/serval$/);
  await expect(place("other")).rejects.toMatchObject({
    code: "E_ENV",
    message: `SERVAL_PREDICTIONS_PASSWORD_FILE: there is no file ${join(cwd, "other")}.`,
  });
});

test("SERVAL_PEERS of earlier versions is answered with the name of its successor", () => {
  expect(retiredVariables({ SERVAL_PEERS: "tasks.classifier:8000" })).toEqual([
    expect.stringMatching(/^SERVAL_PEERS has no effect any more\. .*SERVAL_PREDICTIONS_URL/),
  ]);
  expect(retiredVariables({ SERVAL_PEERS: "" })).toEqual([]);
});
