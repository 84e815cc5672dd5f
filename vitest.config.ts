import { defineConfig, type ViteUserConfig } from "vitest/config";

const config: ViteUserConfig = defineConfig({
  test: {
    pool: "forks",
    testTimeout: 60_000,
    hookTimeout: 60_000,
    // A busy machine is slow, not wrong.
    expect: { poll: { timeout: 20_000 } },
    coverage: {
      provider: "v8",
      include: ["src/**"],
      reporter: ["text-summary", "lcov"],
      // Threads and child processes count as well: what trains, answers and runs as a command is in them.
      autoAttachSubprocess: true,
      thresholds: { lines: 90 },
    },
    projects: [
      {
        extends: true,
        test: {
          name: "unit",
          include: ["tests/{unit,e2e}/**/*.test.ts"],
          setupFiles: ["tests/helpers/whole-coverage.ts"],
          // Whole-program tests train and serve for real; two at a time would only take turns on two cores.
          maxWorkers: 2,
        },
      },
      {
        extends: true,
        test: {
          name: "cases",
          include: ["tests/cases/**/*.test.ts"],
          setupFiles: ["tests/helpers/whole-coverage.ts"],
          maxWorkers: 2,
        },
      },
      {
        extends: true,
        // They follow the pages for users; all share one package, packed and installed.
        test: {
          name: "docs",
          include: ["tests/docs/**/*.test.ts"],
          globalSetup: ["tests/docs/shared-package.ts"],
          testTimeout: 200_000,
          hookTimeout: 200_000,
          maxWorkers: 2,
        },
      },
      {
        extends: true,
        // Attacks measure how long others wait, so they run one file at a time.
        test: {
          name: "hostile",
          include: ["tests/hostile/**/*.test.ts"],
          setupFiles: ["tests/helpers/whole-coverage.ts"],
          maxWorkers: 1,
          fileParallelism: false,
        },
      },
      {
        extends: true,
        test: {
          name: "interop",
          include: ["tests/interop/**/*.test.ts"],
          testTimeout: 300_000,
          // Most of the time goes to starting Python, which one core does alone.
          maxWorkers: 2,
          // Python's ONNX Runtime sends usage data too, unless it is told not to.
          env: { ORT_DISABLE_TELEMETRY: "1" },
        },
      },
      {
        extends: true,
        // They share one container engine and its ports.
        test: {
          name: "containers",
          include: ["tests/containers/**/*.test.ts"],
          testTimeout: 300_000,
          hookTimeout: 600_000,
          maxWorkers: 1,
          fileParallelism: false,
        },
      },
    ],
  },
});

export default config;
