import { expect, test } from "vitest";
import { askRaw, startTracking } from "../../../helpers/tracking-server.ts";

const search = "/api/2.0/mlflow/experiments/search";
const json = { "content-type": "application/json" };
const content = '{"max_results": 1}';

test("a host that is not this machine's is refused, as a page that rebinds its name would send", async () => {
  const { url } = await startTracking();
  const statusFor = async (host: string, path = "/api/2.0/mlflow/experiments/get?experiment_id=0"): Promise<number> =>
    (await askRaw(url, "GET", path, { host })).status;
  for (const host of [
    "localhost",
    "localhost:5001",
    "127.0.0.1:80",
    "[::1]:5001",
    "192.168.1.7:5001",
    "10.0.0.3",
    "172.20.1.1",
    "[fd00::1]:1",
  ]) {
    expect([host, await statusFor(host)]).toEqual([host, 200]);
  }
  for (const host of [
    "evil.example",
    "evil.example:5001",
    "10.evil.example",
    "192.168.1.evil.example",
    "localhost.evil.example",
    "8.8.8.8",
    "172.32.0.1",
    "a b",
    "localhost:x",
    "[::2]",
  ]) {
    expect([host, await statusFor(host)]).toEqual([host, 403]);
  }
  expect(await statusFor("evil.example", "/")).toBe(403);
  expect(await statusFor("evil.example", "/health")).toBe(200);
  const refused = await askRaw(url, "GET", "/", { host: "evil.example" });
  expect(refused.body).toBe('Serval\'s tracking server does not know the host "evil.example". Add it with --allowed-hosts if it is yours.');
});

test("an allow-list takes names, names with a port, and stars", async () => {
  const { url } = await startTracking({ allowedHosts: ["ml.example", "proxy:8443", "*.internal"] });
  const statusFor = async (host: string): Promise<number> => (await askRaw(url, "GET", "/version", { host })).status;
  const root = async (host: string): Promise<number> =>
    (await askRaw(url, "GET", "/api/2.0/mlflow/experiments/get?experiment_id=0", { host })).status;
  expect(await statusFor("elsewhere")).toBe(200);
  for (const host of ["ml.example", "ML.example:5001", "proxy:8443", "a.b.internal", "a.internal:1", "localhost"])
    expect([host, await root(host)]).toEqual([host, 200]);
  for (const host of ["xml.example", "proxy", "proxy:84430", "internal", "ml.example.evil"])
    expect([host, await root(host)]).toEqual([host, 403]);
});

test("a page of another site may change nothing, and may not read answers across origins", async () => {
  const { url } = await startTracking({ allowedOrigins: ["https://ml.example"] });
  const statusFor = async (origin: string): Promise<number> => (await askRaw(url, "POST", search, { ...json, origin }, content)).status;
  for (const origin of ["http://localhost:3000", "http://127.0.0.1:5001", "http://[::1]:1", "https://ml.example"])
    expect([origin, await statusFor(origin)]).toEqual([origin, 200]);
  for (const origin of ["https://evil.example", "http://localhost.evil.example", "null", "https://ml.example.evil", "file://"]) {
    expect([origin, await statusFor(origin)]).toEqual([origin, 403]);
  }
  const read = await fetch(`${url}/version`, { headers: { origin: "https://evil.example" } });
  expect([read.status, read.headers.get("access-control-allow-origin")]).toEqual([200, null]);
});
