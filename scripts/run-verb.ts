import { spawn } from "node:child_process";
import { join } from "node:path";

const main = join(import.meta.dirname, "..", "src", "cli", "main.ts");

/** Runs a verb of serval in a folder; ends this process with its exit code when it fails. */
export async function runVerb(folder: string, ...verb: string[]): Promise<void> {
  console.log(`> serval ${verb.join(" ")}`);
  const child = spawn(process.execPath, [main, ...verb], { cwd: folder, stdio: "inherit" });
  // A signal from the keyboard reaches both; the verb decides when it is through.
  const ignore = (): void => undefined;
  const pass = (): void => void child.kill("SIGTERM");
  process.on("SIGINT", ignore);
  process.on("SIGTERM", pass);
  const code = await new Promise<number>((resolve) => child.once("close", (exit) => resolve(exit ?? 1)));
  process.off("SIGINT", ignore);
  process.off("SIGTERM", pass);
  if (code !== 0) process.exit(code);
}
