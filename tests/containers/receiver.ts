import { docker, serviceImage } from "./engine.ts";

/** What a person would have got of the alerts. */
export interface Heard {
  readonly webhooks: readonly {
    readonly status: string;
    readonly groupLabels: Readonly<Record<string, string>>;
    readonly alerts: readonly {
      readonly labels: Readonly<Record<string, string>>;
      readonly annotations: Readonly<Record<string, string>>;
      readonly generatorURL: string;
    }[];
  }[];
  readonly mails: readonly string[];
}

/** Takes webhooks on 8080 and mail on 2525, and prints a line of JSON for each. */
const program = `
  const http = require("node:http"), net = require("node:net"), readline = require("node:readline");
  http.createServer((request, response) => {
    let body = "";
    request.on("data", (chunk) => (body += chunk)).on("end", () => { console.log(JSON.stringify({ webhook: JSON.parse(body) })); response.end(); });
  }).listen(8080);
  net.createServer((socket) => {
    let mail;
    const say = (line) => socket.write(line + "\\r\\n");
    say("220 receiver");
    readline.createInterface({ input: socket }).on("line", (line) => {
      if (mail !== undefined && line !== ".") mail += line + "\\n";
      else if (mail !== undefined) { console.log(JSON.stringify({ mail })); mail = undefined; say("250 taken"); }
      else if (/^DATA/i.test(line)) { mail = ""; say("354 go ahead"); }
      else if (/^QUIT/i.test(line)) { say("221 bye"); socket.end(); }
      else say("250 receiver");
    });
  }).listen(2525);
`;

/** Alertmanager's settings that send to it. */
export const receiverSettings: Readonly<Record<string, string>> = {
  ALERT_WEBHOOK_URL: "http://receiver:8080/alerts",
  ALERT_MAIL_TO: "people@example.com",
  ALERT_MAIL_FROM: "serval@example.com",
  ALERT_SMTP_HOST: "receiver:2525",
  ALERT_SMTP_TLS: "false",
};

/** A container by the name `receiver` in the network of a project's services, which goes with the project. */
export async function startReceiver(project: string, network: string): Promise<() => Promise<Heard>> {
  const place = ["--network", network, "--network-alias", "receiver", "--label", `com.docker.compose.project=${project}`];
  const id = await docker("run", "--detach", ...place, "--entrypoint", "node", serviceImage, "--eval", program);
  return async () => {
    const lines = (await docker("logs", id)).split("\n").filter((line) => line !== "");
    const heard = lines.map((line) => JSON.parse(line) as { webhook?: Heard["webhooks"][number]; mail?: string });
    return {
      webhooks: heard.flatMap(({ webhook }) => webhook ?? []),
      mails: heard.flatMap(({ mail }) => mail ?? []),
    };
  };
}
