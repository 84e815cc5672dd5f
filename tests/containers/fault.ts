/** Put into an image by rollout-lab.ts: predictions go wrong from the one with the number FAULT_AFTER on. */
let asked = 0;

export async function fault(): Promise<void> {
  if (asked++ < Number(process.env["FAULT_AFTER"])) return;
  if (process.env["FAULT"] === "slow") await new Promise((resolve) => setTimeout(resolve, 250));
  if (process.env["FAULT"] === "fail") throw new Error("A fault that was put in.");
  if (process.env["FAULT"] === "crash") process.exit(1);
}
