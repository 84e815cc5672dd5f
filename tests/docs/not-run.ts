/** Why no test runs a block. */
export type Reason = "network" | "account" | "hours" | "python" | "containers";

export interface NotRun {
  readonly page: string;
  /** How it begins. */
  readonly begins: string;
  readonly reason: Reason;
  readonly because: string;
}

/** The blocks of commands that no test runs. Their verbs, options and scripts are compared with what `--help` says. */
export const notRun: readonly NotRun[] = [
  {
    page: "README.md",
    begins: "npm run serval -- data import --preset cats-dogs",
    reason: "hours",
    because: "it downloads 25,000 photographs and trains for half an hour",
  },
  {
    page: "docs/service.md",
    begins: "npx serval export --refit",
    reason: "hours",
    because: "it needs the photographs of the released model; tests/cases/unknown-input.test.ts runs it on others",
  },
  {
    page: "docs/tracking.md",
    begins: "mlflow server --port 5001",
    reason: "python",
    because: "MLflow is installed later in CI; tests/interop/mlflow.test.ts trains with a real server",
  },
  {
    page: "docs/tracking.md",
    begins: "pip install mlflow",
    reason: "account",
    because: "it asks for a database server, a bucket and their passwords",
  },
  { page: "docs/deployment.md", begins: "ssh -N", reason: "account", because: "it logs in on another host" },
  {
    page: "docs/deployment.md",
    begins: "ssh -t",
    reason: "account",
    because: "it logs in on another host; tests/containers/stack.test.ts runs the script",
  },
  { page: "docs/deployment.md", begins: 'echo "NODE_IMAGE=', reason: "network", because: "it asks Docker Hub for the digests of images" },
  {
    page: "docs/deployment.md",
    begins: "npm run serval -- deploy --target stack",
    reason: "containers",
    because: "two updates of a stack take two minutes; tests/unit/deploy/stack-target.test.ts has its steps",
  },
  {
    page: "docs/operations.md",
    begins: "scripts/backup.sh # before",
    reason: "account",
    because: "git pull asks the host of the repository; the other commands are in blocks that are run",
  },
];
