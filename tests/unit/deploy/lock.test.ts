import { expect, test } from "vitest";
import { withDeployLock } from "../../../src/deploy/lock.ts";

test.each(["linux", "darwin"].filter((platform) => platform === process.platform || platform === "darwin"))(
  "only one of a name has the lock, on %s, and the next when it is done or failed",
  async (platform) => {
    const name = `test-${process.pid}`;
    const inside = async <T>(work: () => Promise<T>): Promise<T> => await withDeployLock(name, work, platform);
    await inside(async () => {
      await expect(inside(async () => "never")).rejects.toMatchObject({ code: "E_DEPLOY_NOT_READY" });
      expect(await withDeployLock(`${name}-other`, async () => "another", platform)).toBe("another");
    });
    await expect(inside(async () => await Promise.reject(new Error("failed")))).rejects.toThrow("failed");
    expect(await inside(async () => "again")).toBe("again");
  },
);
