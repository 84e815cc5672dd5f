import { existsSync } from "node:fs";
import { writeFile } from "node:fs/promises";
import { DatabaseSync } from "node:sqlite";
import { join } from "node:path";
import { chromium, type Browser, type BrowserContextOptions, type Page } from "playwright-core";
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import { sha256 } from "../../../src/files.ts";
import { readApiKeys } from "../../../src/serve/http/api-keys.ts";
import { startTestService, type TestService } from "../../helpers/service.ts";
import { colourPicture } from "../../helpers/tiny-bundle.ts";

const executablePath = ["/usr/bin/chromium", "/usr/bin/google-chrome", "/usr/bin/chromium-browser"].find((path) => existsSync(path));
if (executablePath === undefined) console.warn("NOT RUN: the tests of the page need Chromium (apt-get install chromium)");

const phone: BrowserContextOptions = { viewport: { width: 360, height: 740 }, isMobile: true, hasTouch: true };

describe.skipIf(executablePath === undefined)("the page at /, in Chromium", () => {
  let browser: Browser;
  let service: TestService;
  let picture: string;
  const problems: string[] = [];
  beforeAll(async () => {
    service = await startTestService({ bundle: { labels: ["blue", "green", "red"] } });
    picture = join(service.root, "a picture of mine.jpg");
    await writeFile(picture, await colourPicture("red", 3));
    browser = await chromium.launch({ executablePath: executablePath ?? "", args: ["--no-sandbox"] });
  });
  afterAll(async () => {
    await browser?.close();
    await service?.close();
    // Neither script errors nor anything that the page's own policy refused.
    expect(problems).toEqual([]);
  });

  async function open(options: BrowserContextOptions = {}, { url } = service): Promise<Page> {
    const page = await (await browser.newContext(options)).newPage();
    page.on("pageerror", ({ message }) => problems.push(message));
    page.on("console", (message) => message.type() === "error" && !message.text().includes("401") && problems.push(message.text()));
    await page.goto(url);
    return page;
  }
  const bars = async (page: Page): Promise<string[]> => await page.locator(".bars .row").allInnerTexts();

  it("answers on a phone: bars, time and version, the map, feedback, and nothing wider than the screen", async () => {
    const page = await open(phone);
    await page.setInputFiles("#camera", picture);
    await page.getByText(/^Answered in \d+ ms by version [0-9a-f]{12}\.$/).waitFor();
    expect(await page.locator("h2").innerText()).toBe("red");
    expect((await bars(page)).map((text) => text.split("\n")[0])).toEqual(["red", expect.any(String), expect.any(String)]);
    expect(await page.locator(".bars .row").first().innerText()).toMatch(/red\s+9\d\.\d %/);
    const shown = async (): Promise<string> => (await page.locator("#picture").getAttribute("src")) ?? "";
    const before = await shown();
    await page.getByRole("button", { name: "Show where" }).tap();
    await page.getByRole("button", { name: "Show the picture" }).waitFor();
    expect(await shown()).not.toBe(before);
    expect(await page.evaluate("picture.decode().then(() => picture.naturalWidth)")).toBeGreaterThan(300);
    await page.getByRole("button", { name: "Show the picture" }).tap();
    expect(await shown()).toBe(before);
    await page.getByRole("button", { name: "This was wrong" }).tap();
    expect(await page.getByRole("button", { name: "Save" }).isDisabled()).toBe(true);
    await page.getByLabel("What it really shows").selectOption("green");
    await page.getByRole("button", { name: "Save" }).tap();
    await page.getByText("Thank you, noted: green.").waitFor();
    const db = new DatabaseSync(join(service.root, "predictions.db"), { readOnly: true });
    expect(db.prepare("SELECT p.label, f.label AS truth FROM predictions p JOIN feedback f USING (request_id)").all()).toEqual([
      { label: "red", truth: "green" },
    ]);
    db.close();
    expect(await page.evaluate("document.documentElement.scrollWidth")).toBe(360);
    await page.context().close();
  });

  it("works by keyboard alone", async () => {
    const page = await open();
    await page.keyboard.press("Tab");
    expect(await page.evaluate("document.activeElement.id")).toBe("input");
    const choosing = page.waitForEvent("filechooser");
    // The browser hears that somebody waits for the dialog before it hears the key.
    await page.evaluate("0");
    await page.keyboard.press("Enter");
    await (await choosing).setFiles(picture);
    await page.getByText("Answered in").waitFor();
    const focused = async (): Promise<string> => await page.evaluate("document.activeElement.textContent");
    for (let i = 0; i < 6 && (await focused()) !== "Show where"; i++) await page.keyboard.press("Tab");
    await page.keyboard.press("Enter");
    await page.getByRole("button", { name: "Show the picture", pressed: true }).waitFor();
    expect(await focused()).toBe("Show the picture");
    await page.context().close();
  });

  it("takes a picture that is dropped or pasted, and shows how to do it with curl", async () => {
    const page = await open();
    const bytes = [...(await colourPicture("blue", 1))];
    for (const [event, property] of [
      ["drop", "dataTransfer"],
      ["paste", "clipboardData"],
    ] as const) {
      await page.evaluate(`{
        const data = new DataTransfer();
        data.items.add(new File([new Uint8Array(${JSON.stringify(bytes)})], "dropped.jpg", { type: "image/jpeg" }));
        const happening = new Event("${event}", { bubbles: true, cancelable: true });
        Object.defineProperty(happening, "${property}", { value: data });
        document.dispatchEvent(happening);
      }`);
      await page.getByRole("heading", { name: "blue" }).waitFor();
      expect(await page.locator(".curl code").innerText()).toBe(`curl -F file=@dropped.jpg ${service.url}/predict`);
      await page.reload();
    }
    await page.context().close();
  });

  it("records nothing at the first click, also with two classes: it can be cancelled, and what was saved can be changed", async () => {
    const two = await startTestService();
    const page = await open({}, two);
    await page.setInputFiles("#input", picture);
    const stored = async (): Promise<unknown> => {
      const db = new DatabaseSync(join(two.root, "predictions.db"), { readOnly: true });
      const rows = db.prepare("SELECT label FROM feedback").all();
      db.close();
      return rows;
    };
    const button = (name: string): ReturnType<Page["getByRole"]> => page.getByRole("button", { name, exact: true });
    await button("This was wrong").click();
    expect(await page.getByLabel("What it really shows").inputValue()).toBe("blue");
    await button("Cancel").click();
    await button("This was wrong").click();
    await button("Save").click();
    await page.getByText("Thank you, noted: blue.").waitFor();
    // Had the first click or Cancel recorded anything, this would not have been the first feedback.
    const asked = (): unknown[] =>
      two.lines
        .map((line) => JSON.parse(line) as Record<string, unknown>)
        .filter(({ route }) => route === "/feedback")
        .map(({ status }) => status);
    await expect.poll(asked).toEqual([202]);
    expect(await stored()).toEqual([{ label: "blue" }]);
    await button("Change").click();
    expect(await page.getByLabel("What it really shows").inputValue()).toBe("red");
    await button("Save").click();
    await page.getByText("Thank you, noted: red.").waitFor();
    expect(await stored()).toEqual([{ label: "red" }]);
    await page.context().close();
    await two.close();
  });

  it("says what is wrong with a file that is not a picture", async () => {
    const page = await open(phone);
    await page.setInputFiles("#input", { name: "notes.txt", mimeType: "text/plain", buffer: Buffer.from("no picture") });
    await page.getByText("which is not JPEG, PNG, WebP or GIF").waitFor();
    expect(await page.locator("#picture").isVisible()).toBe(false);
    problems.splice(0); // Chromium's own line about the status 415
    await page.context().close();
  });

  it("asks for the API key where the service has keys", async () => {
    await writeFile(join(service.root, "keys"), `alice ${sha256("secret")}\n`);
    const guarded = await startTestService({ access: { keys: await readApiKeys(join(service.root, "keys")) } });
    const page = await open({}, guarded);
    await page.setInputFiles("#input", picture);
    await page.getByLabel("API key").fill("secret");
    await page.keyboard.press("Enter");
    await page.getByRole("heading", { name: "red" }).waitFor();
    expect(await page.locator(".curl code").innerText()).toContain('-H "X-API-Key: $KEY"');
    await page.context().close();
    await guarded.close();
  });
});
