import { describe, expect, test } from "vitest";
import { debugWanted, stateDirectory } from "../../../src/config/env.ts";
import { loadSettings } from "../../../src/config/settings.ts";

describe("the environment", () => {
  test("has a default for what is needed and null for what is optional", () => {
    expect(loadSettings({})).toEqual({
      host: "127.0.0.1",
      port: 8000,
      model: null,
      stateDir: ".serval",
      logLevel: "info",
      logFile: null,
      workers: 0,
      queueLimit: 0,
      requestTimeoutMs: 10_000,
      maxBodyBytes: 16_777_216,
      maxDecodeMs: 5000,
      maxPixels: 64_000_000,
      trackMaxFileBytes: 8 * 1024 ** 3,
      trackMaxRunBytes: 64 * 1024 ** 3,
      trackMinFreeBytes: 128 * 1024 ** 2,
      uploadTimeoutMs: 60_000,
      maxBatchSize: 1,
      maxDelayMs: 0,
      hosts: null,
      apiKeysFile: null,
      apiKey: null,
      admin: "off",
      rateLimit: 0,
      proxies: 0,
      basePath: "",
      corsOrigins: null,
      abstain: false,
      drainMs: 1000,
      modelPollMs: 10_000,
      predictionsUrl: null,
      predictionsPasswordFile: null,
      predictionsKeepDays: 0,
      predictionsMaxBytes: 1_073_741_824,
      mlflowTrackingUri: null,
      s3EndpointUrl: null,
      awsEndpointUrl: null,
      awsRegion: null,
      awsDefaultRegion: null,
      hubEndpoint: null,
    });
  });

  test("is read from the variables, and the result is frozen", () => {
    const settings = loadSettings({
      SERVAL_HOST: "0.0.0.0",
      SERVAL_PORT: "0",
      SERVAL_MODEL: "models/cats",
      SERVAL_LOG_LEVEL: "debug",
      SERVAL_ABSTAIN: "Yes",
      MLFLOW_TRACKING_URI: "http://localhost:5001",
      SERVAL_WORKERS: " 2 ",
    });
    expect(settings).toMatchObject({ host: "0.0.0.0", port: 0, model: "models/cats", logLevel: "debug", abstain: true, workers: 2 });
    expect(settings.mlflowTrackingUri).toBe("http://localhost:5001");
    expect(() => Object.assign(settings, { port: 1 })).toThrow(TypeError);
  });

  test("takes an empty variable, as Compose passes it, for one that is not set", () => {
    expect(loadSettings({ SERVAL_PORT: "", SERVAL_MODEL: "  " })).toEqual(loadSettings({}));
  });

  test("names every variable with a bad value, what was expected and what was got", () => {
    const read = (): unknown =>
      loadSettings({
        SERVAL_PORT: "8o",
        SERVAL_WORKERS: "-1",
        SERVAL_ABSTAIN: "maybe",
        SERVAL_LOG_LEVEL: "loud",
        SERVAL_QUEUE_LIMIT: "1.5",
      });
    expect(read).toThrow(
      expect.objectContaining({
        code: "E_ENV",
        message: [
          'SERVAL_PORT: expected an integer from 0 to 65535, got "8o".',
          'SERVAL_LOG_LEVEL: expected one of debug, info, warn, error, silent, got "loud".',
          'SERVAL_WORKERS: expected an integer from 0 to 256, got "-1".',
          'SERVAL_QUEUE_LIMIT: expected an integer from 0 to 100000, got "1.5".',
          'SERVAL_ABSTAIN: expected true or false, got "maybe".',
        ].join("\n  "),
      }),
    );
  });

  test("tells that stack traces are wanted even when another variable is wrong", () => {
    expect(debugWanted({ SERVAL_LOG_LEVEL: "debug", SERVAL_PORT: "x" })).toBe(true);
    expect(debugWanted({})).toBe(false);
  });

  test("names the state folder without its schemas, as with them", () => {
    for (const env of [{}, { SERVAL_STATE_DIR: " " }, { SERVAL_STATE_DIR: "/var/lib/serval" }]) {
      expect(stateDirectory(env)).toBe(loadSettings(env).stateDir);
    }
  });
});
