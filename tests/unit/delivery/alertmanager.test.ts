import { spawnSync } from "node:child_process";
import { mkdtempSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { delimiter, join } from "node:path";
import { afterAll, expect, test } from "vitest";
import { parse } from "yaml";

const script = join(import.meta.dirname, "../../../deployment/alertmanager/start.sh");
const dir = mkdtempSync(join(tmpdir(), "serval-alertmanager-"));
afterAll(() => rmSync(dir, { recursive: true }));
// What the script starts; tests/containers starts the real one.
writeFileSync(join(dir, "alertmanager"), "#!/bin/sh\n", { mode: 0o755 });

interface Config {
  readonly receivers: readonly [Readonly<Record<string, unknown>>];
}

function start(settings: Readonly<Record<string, string>>): {
  readonly status: number | null;
  readonly stderr: string;
  readonly config: () => Config;
} {
  const file = join(dir, "config.yml");
  rmSync(file, { force: true });
  const env = { PATH: `${dir}${delimiter}${process.env["PATH"] ?? ""}`, ALERT_CONFIG: file, ...settings };
  const { status, stderr } = spawnSync("sh", [script], { env, encoding: "utf8" });
  return { status, stderr, config: () => parse(readFileSync(file, "utf8")) as Config };
}

test("without settings there is a receiver that is sent nothing", () => {
  const { status, config } = start({});
  expect(status).toBe(0);
  expect(config().receivers).toEqual([{ name: "people" }]);
});

test("a webhook and a mail server are taken from the settings as they are, with whatever characters", () => {
  const url = `https://hooks.example.com/a?b='c'&d="$e"#f: {g}`;
  const mail = {
    ALERT_MAIL_TO: "a@example.com, b@example.com",
    ALERT_MAIL_FROM: "serval@example.com",
    ALERT_SMTP_HOST: "smtp.example.com:587",
  };
  const { config } = start({ ALERT_WEBHOOK_URL: url, ...mail, ALERT_SMTP_USER: "user", ALERT_SMTP_PASSWORD: String.raw`it's \n #1` });
  expect(config().receivers[0]).toEqual({
    name: "people",
    webhook_configs: [{ url }],
    email_configs: [
      {
        to: "a@example.com, b@example.com",
        from: "serval@example.com",
        smarthost: "smtp.example.com:587",
        require_tls: true,
        send_resolved: true,
        auth_username: "user",
        auth_password: String.raw`it's \n #1`,
      },
    ],
  });
});

test("a mail address without a server or a sender ends with what to set", () => {
  expect(start({ ALERT_MAIL_TO: "a@example.com" })).toMatchObject({
    status: 2,
    stderr: "ALERT_MAIL_TO is set and ALERT_SMTP_HOST is not: set the mail server, such as smtp.example.com:587.\n",
  });
  expect(start({ ALERT_MAIL_TO: "a@example.com", ALERT_SMTP_HOST: "smtp.example.com:587" }).stderr).toContain("ALERT_MAIL_FROM is not");
});
