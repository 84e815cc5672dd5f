/**
 * Takes the pictures of pages again, from this release: the service's page, the page of a run, and the report of the monitor.
 *
 *     SERVAL_TEST_PHOTOS=photos.zip npm run docs:pictures [-- page run monitor]
 *
 * It needs Chromium. The report is about 120 pictures of the zip, or of the drawn sample; none of them is in a picture.
 */
import { cp, mkdtemp, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { pathToFileURL } from "node:url";
import { chromium, type Browser } from "playwright-core";
import sharp from "sharp";
import { openSource } from "../src/data/sources/open-source.ts";
import { readEntry } from "../src/data/sources/source.ts";
import { writeFileAtomic } from "../src/files.ts";
import { runServal, startServal } from "../tests/helpers/serval-process.ts";

const root = join(import.meta.dirname, "..");
const folder = await mkdtemp(join(tmpdir(), "serval-pictures-"));
const env = { SERVAL_PORT: "0", SERVAL_LOG_LEVEL: "silent" };
const pictures = { page: takePage, run: takeRun, monitor: takeMonitor };
const wanted = process.argv.length > 2 ? process.argv.slice(2) : Object.keys(pictures);

const browser = await chromium.launch({ executablePath: process.env["CHROMIUM"] ?? "/usr/bin/chromium", args: ["--no-sandbox"] });
try {
  await cp(join(root, "models/cats-dogs"), join(folder, "models/cats-dogs"), { recursive: true });
  for (const [name, take] of Object.entries(pictures)) if (wanted.includes(name)) await take(browser);
} finally {
  await browser.close();
  await rm(folder, { recursive: true });
}

async function takePage(on: Browser): Promise<void> {
  const service = startServal(folder, ["serve"], env);
  const page = await on.newPage({ viewport: { width: 420, height: 800 }, deviceScaleFactor: 1.5 });
  await page.goto(await service.address());
  await page.setInputFiles("#camera", join(root, "test_image.jpg"));
  await page.getByText(/^Answered in /).waitFor();
  await save("page.png", await page.screenshot({ fullPage: true }));
  await page.close();
  await service.stop();
}

async function takeRun(on: Browser): Promise<void> {
  const up = startServal(folder, ["up", "--sample"], env);
  const [, tracking = ""] = await up.waitFor(/^Runs and registered models: (\S+)$/m);
  await up.address();
  const page = await on.newPage({ viewport: { width: 1100, height: 860 } });
  await page.goto(tracking);
  await page.getByRole("link", { name: "drawn-sample" }).first().click();
  await page.locator("table a").first().click();
  await page.getByText("Curves").waitFor();
  await save("track-run.png", await page.screenshot());
  await page.close();
  await up.stop();
}

async function takeMonitor(on: Browser): Promise<void> {
  const service = startServal(folder, ["serve", "--model", "cats-dogs"], env);
  await answerAndLabel(await service.address(), 120);
  await service.stop();
  const html = join(folder, "monitor.html");
  const { code, stderr } = await runServal(folder, ["monitor", "--model", "cats-dogs", "--html", html], env);
  if (code !== 0) throw new Error(`serval monitor ended with ${code}:\n${stderr}`);
  const page = await on.newPage({ viewport: { width: 730, height: 725 } });
  await page.goto(pathToFileURL(html).href);
  await save("monitor-report.png", await page.screenshot());
  await page.close();
}

/** Sends pictures to the service, and for each the label of its folder as feedback. */
async function answerAndLabel(url: string, count: number): Promise<void> {
  const source = await openSource(process.env["SERVAL_TEST_PHOTOS"] ?? "sample");
  const perLabel = new Map<string, number>();
  for await (const entry of source.entries()) {
    if (entry.label === undefined) continue;
    const before = perLabel.get(entry.label) ?? 0;
    if (before >= count / 2) continue;
    perLabel.set(entry.label, before + 1);
    const body = Buffer.from(await readEntry(entry, 1 << 24));
    const answer = await fetch(`${url}/predict`, { method: "POST", headers: { "content-type": "image/jpeg" }, body });
    const { request_id } = (await answer.json()) as { request_id: string };
    await fetch(`${url}/feedback`, {
      method: "POST",
      headers: { "content-type": "application/json" },
      body: JSON.stringify({ request_id, label: entry.label }),
    });
    if (perLabel.size === 2 && [...perLabel.values()].every((own) => own >= count / 2)) break;
  }
  await source.close();
}

/** With a palette: a page has few colours. */
async function save(name: string, screenshot: Buffer): Promise<void> {
  const png = await sharp(screenshot).png({ palette: true, colours: 128, effort: 10 }).toBuffer();
  await writeFileAtomic(join(root, "docs/images", name), png);
  console.log(`docs/images/${name}: ${Math.round(png.length / 1024)} KB`);
}
