import { execFile, spawn, type ChildProcess } from "node:child_process";
import { once } from "node:events";
import { mkdir, mkdtemp, readFile, rm, writeFile } from "node:fs/promises";
import { connect } from "node:net";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { promisify } from "node:util";
import { afterAll, beforeAll, describe, expect, test, vi } from "vitest";
import { sha256 } from "../../src/files.ts";
import { readApiKeys } from "../../src/serve/http/api-keys.ts";
import { freePort } from "../helpers/free-port.ts";
import { sendRequest, type RawReply, type RawRequest } from "../helpers/raw-request.ts";
import { startTestService, type TestService } from "../helpers/service.ts";
import { colourPicture } from "../helpers/tiny-bundle.ts";

// The proxies of Debian: apt-get install nginx-light caddy haproxy.

const name = "serval.example.com";
const page = join(import.meta.dirname, "../../docs/operations.md");
const limit = 10;
const mebibyte = 1024 * 1024;

let root: string;
let ca: string;
let picture: Buffer;
/** As the page says: keys, one proxy, a limit for each client, and the name. */
let keyed: TestService;
/** A service whose operator set SERVAL_ADMIN=local, and forgot the proxy. */
let careless: TestService;
/** Nothing is set. */
let plain: TestService;
const children: ChildProcess[] = [];

beforeAll(async () => {
  root = await mkdtemp(join(tmpdir(), "serval-proxies-"));
  const [key, certificate] = [join(root, "serval.key"), join(root, "serval.pem")];
  const subject = ["-subj", `/CN=${name}`, "-addext", `subjectAltName=DNS:${name}`];
  const args = ["req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256", "-nodes", "-days", "2"];
  await promisify(execFile)("openssl", [...args, ...subject, "-keyout", key, "-out", certificate]);
  ca = await readFile(certificate, "utf8");
  // HAProxy wants both in one file; the others read only the certificate in it.
  await writeFile(certificate, ca + (await readFile(key, "utf8")));
  // The limit counts keys as well: each proxy's tests have one.
  await writeFile(
    join(root, "keys.txt"),
    Object.keys(starts)
      .map((proxy) => `${proxy} ${sha256(`key-${proxy}`)}\n`)
      .join(""),
  );
  picture = await colourPicture("red");
  const keys = await readApiKeys(join(root, "keys.txt"));
  const allowedHosts = [name];
  const start = startTestService;
  keyed = await start({ access: { keys, proxies: 1, rateLimitPerMinute: limit, allowedHosts } });
  careless = await start({ access: { admin: "local", allowedHosts } });
  plain = await start({ access: { allowedHosts } });
});

afterAll(async () => {
  for (const child of children) {
    child.kill("SIGTERM");
    if (child.exitCode === null && child.signalCode === null) await once(child, "exit");
  }
  for (const service of [keyed, careless, plain]) await service?.close();
  await rm(root, { recursive: true, force: true });
});

/** The configuration in the page, with another port, certificate and service in it, and nothing else changed. */
async function snippet(language: string, port: number, upstream: number): Promise<string> {
  const text = new RegExp(`^\`\`\`${language}\n([^]*?)^\`\`\``, "m").exec(await readFile(page, "utf8"))?.[1] ?? "";
  expect(text).toContain("127.0.0.1:8000");
  return text
    .replaceAll("127.0.0.1:8000", `127.0.0.1:${upstream}`)
    .replaceAll("/etc/ssl/", `${root}/`)
    .replace("listen 443", `listen 127.0.0.1:${port}`)
    .replace("bind :443", `bind 127.0.0.1:${port}`)
    .replace(`${name} {`, `https://${name}:${port} {\n\tbind 127.0.0.1\n\ttls ${root}/serval.pem ${root}/serval.key`);
}

/** Starts a proxy and waits until it listens. */
async function startProxy(command: string, args: readonly string[], port: number): Promise<void> {
  const child = spawn(command, args, { stdio: ["ignore", "pipe", "pipe"], env: { ...process.env, HOME: root, XDG_DATA_HOME: root } });
  children.push(child);
  let said = "";
  for (const stream of [child.stdout, child.stderr]) stream.setEncoding("utf8").on("data", (text: string) => (said += text));
  const failed = new Promise<never>((_resolve, reject) => {
    child.once("error", (error) =>
      reject(new Error(`${command} cannot be started (apt-get install nginx-light caddy haproxy): ${error.message}`)),
    );
    child.once("exit", (code) => reject(new Error(`${command} ended with ${code}:\n${said}`)));
  });
  failed.catch(() => undefined);
  const listens = async (): Promise<boolean> =>
    await new Promise((resolve) => {
      const socket = connect(port, "127.0.0.1");
      socket.once("connect", () => resolve(true)).once("error", () => resolve(false));
      socket.once("connect", () => socket.destroy());
    });
  await Promise.race([failed, vi.waitUntil(listens, { timeout: 20_000, interval: 50 })]);
}

/** A proxy in front of a service, by its configuration; returns its port. */
type Start = (upstream: number) => Promise<number>;

const nginxWith = async (server: string, port: number): Promise<number> => {
  const dir = await mkdtemp(join(root, "nginx-"));
  const paths = ["client_body", "proxy", "fastcgi", "uwsgi", "scgi"].map((part) => `${part}_temp_path ${dir}/${part};`).join(" ");
  await writeFile(
    join(dir, "nginx.conf"),
    `user root; daemon off; pid ${dir}/pid; error_log ${dir}/error.log; events {}\nhttp { access_log off; ${paths}\n${server}\n}\n`,
  );
  await startProxy("nginx", ["-e", join(dir, "error.log"), "-c", join(dir, "nginx.conf")], port);
  return port;
};

const haproxyWith = async (sections: string, port: number): Promise<number> => {
  const file = join(root, `haproxy-${port}.cfg`);
  await writeFile(file, sections);
  await startProxy("haproxy", ["-db", "-f", file], port);
  return port;
};

const starts: Readonly<Record<string, Start>> = {
  nginx: async (upstream) => {
    const port = await freePort();
    return await nginxWith(await snippet("nginx", port, upstream), port);
  },
  caddy: async (upstream) => {
    const port = await freePort();
    const dir = await mkdtemp(join(root, "caddy-"));
    await mkdir(join(dir, "data"));
    const own = `{\n\tadmin off\n\tauto_https disable_redirects\n\tskip_install_trust\n\tstorage file_system ${dir}/data\n}\n`;
    await writeFile(join(dir, "Caddyfile"), own + (await snippet("caddyfile", port, upstream)));
    await startProxy("caddy", ["run", "--adapter", "caddyfile", "--config", join(dir, "Caddyfile")], port);
    return port;
  },
  haproxy: async (upstream) => {
    const port = await freePort();
    return await haproxyWith(await snippet("haproxy", port, upstream), port);
  },
};

describe.each(Object.keys(starts))("behind %s, configured as docs/operations.md says,", (proxy) => {
  let port: number;
  let carelessPort: number;
  beforeAll(async () => {
    [port, carelessPort] = await Promise.all([starts[proxy]!(keyed.port), starts[proxy]!(careless.port)]);
  });
  // Each test is another client: 127.0.0.0/8 is all ours.
  const third = 10 + Object.keys(starts).indexOf(proxy);
  const ask = async (client: number, request: Partial<RawRequest>, to = port): Promise<RawReply> =>
    await sendRequest({
      port: to,
      path: "/model",
      from: `127.0.${third}.${client}`,
      tls: { ca, servername: name },
      ...request,
      headers: { host: name, ...request.headers },
    });
  const key = { "x-api-key": `key-${proxy}` };
  const image = { ...key, "content-type": "image/png" };

  test("a prediction is answered", async () => {
    const { status, body } = await ask(1, { method: "POST", path: "/predict", headers: image, body: picture });
    expect([status, body.label]).toEqual([200, "red"]);
  });

  test("each client has its own limit, whatever it says of itself", async () => {
    const statuses = async (client: number, headers: (i: number) => Record<string, string>): Promise<number[]> => {
      const seen: number[] = [];
      for (let i = 0; i <= limit; i++) seen.push((await ask(client, { headers: headers(i) })).status);
      return seen;
    };
    const expected = [...Array.from({ length: limit }, () => 401), 429];
    expect(await statuses(2, () => ({}))).toEqual(expected);
    expect(
      await statuses(3, (i) => ({ "x-forwarded-for": `192.0.2.${i}`, "x-real-ip": `192.0.2.${i}`, forwarded: `for=192.0.2.${i}` })),
    ).toEqual(expected);
    expect((await ask(4, {})).status).toBe(401);
  });

  test("an image of the largest size passes, a larger one is refused by the service, and a far larger one by the proxy", async () => {
    const send = async (bytes: number, sent = bytes): Promise<RawReply> =>
      await ask(5, { method: "POST", path: "/predict", headers: { ...image, "content-length": String(bytes) }, body: Buffer.alloc(sent) });
    const largest = await send(16 * mebibyte);
    expect([largest.status, largest.text]).toEqual([415, expect.stringContaining("E_IMAGE_FORMAT")]);
    // Caddy counts what arrives and passes it on meanwhile: where the service refuses and hangs up first, it may answer 502 for it.
    const early = (status: number): number => (proxy === "caddy" && status === 502 ? 413 : status);
    const larger = await send(17 * mebibyte);
    expect(early(larger.status)).toBe(413);
    expect(larger.status === 502 ? "E_IMAGE_BYTES" : larger.text).toContain("E_IMAGE_BYTES");
    // nginx and HAProxy believe the announced length and ask for no body.
    const tooLong = 64 * mebibyte + 1;
    const far = await send(tooLong, proxy === "caddy" ? tooLong : 0);
    expect(early(far.status)).toBe(413);
    expect(far.text.includes("E_IMAGE_BYTES")).toBe(proxy === "caddy" && far.status !== 502);
  });

  test("no client counts as a program on the service's machine, and metrics are hidden", async () => {
    for (const [method, path] of [
      ["POST", "/model/rollback"],
      ["DELETE", "/model/pin"],
    ] as const) {
      for (const host of [name, "localhost", "127.0.0.1", `127.0.0.1:${careless.port}`]) {
        const codeBy = async (to: number): Promise<string> =>
          (await ask(6, { method, path, headers: { host } }, to)).body?.error.code as string;
        // Caddy answers for names that are not its own by itself, with nothing.
        const expected = proxy === "caddy" && host !== name ? [undefined, undefined] : ["E_API_KEY", "E_FORBIDDEN"];
        expect([method, host, await codeBy(port), await codeBy(carelessPort)]).toEqual([method, host, ...expected]);
      }
      expect((await ask(7, { method, path, headers: key })).body.error.code).toBe("E_MODEL_ROLLBACK");
    }
    expect((await ask(8, { path: "/metrics" })).status).toBe(404);
  });
});

describe("behind a proxy that is not configured for it", () => {
  const changes = async (port: number, host: string): Promise<string> =>
    (await sendRequest({ port, method: "POST", path: "/model/rollback", headers: { host }, from: "127.0.20.1" })).body.error.code as string;

  test("the model is not changed: nginx with a plain proxy_pass", async () => {
    const through = async (upstream: number): Promise<number> => {
      const port = await freePort();
      return await nginxWith(`server { listen 127.0.0.1:${port}; location / { proxy_pass http://127.0.0.1:${upstream}; } }`, port);
    };
    for (const service of [plain, careless]) {
      const port = await through(service.port);
      for (const host of [name, "localhost"]) expect([host, await changes(port, host)]).toEqual([host, "E_FORBIDDEN"]);
    }
    const forgotten = await startTestService({ access: { proxies: 1, admin: "local" } });
    expect(await changes(await through(forgotten.port), name)).toBe("E_FORBIDDEN");
    await forgotten.close();
  });

  test("the model is not changed through a forwarder of TCP, unless SERVAL_ADMIN=local: nothing tells its clients from local programs", async () => {
    const through = async (upstream: number): Promise<number> => {
      const port = await freePort();
      const timeouts = "timeout connect 2s\n timeout client 5s\n timeout server 5s";
      return await haproxyWith(
        `listen forward\n mode tcp\n ${timeouts}\n bind 127.0.0.1:${port}\n server serval 127.0.0.1:${upstream}\n`,
        port,
      );
    };
    const [toPlain, toCareless] = [await through(plain.port), await through(careless.port)];
    for (const host of [name, "localhost"]) expect([host, await changes(toPlain, host)]).toEqual([host, "E_FORBIDDEN"]);
    expect(await changes(toCareless, name)).toBe("E_FORBIDDEN");
    // Why the setting is off by default, and what docs/operations.md warns of.
    expect(await changes(toCareless, "localhost")).toBe("E_MODEL_ROLLBACK");
  });
});
