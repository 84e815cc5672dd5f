import { expect, test } from "vitest";
import { clientNetwork } from "../../../src/http/client-network.ts";

test.each([
  ["192.0.2.1", "192.0.2.1"],
  ["192.0.2.1:4711", "192.0.2.1"],
  ["::ffff:192.0.2.1", "192.0.2.1"],
  ["::ffff:c000:201", "192.0.2.1"],
  ["2001:db8:1:2:3:4:5:6", "2001:db8:1:2::"],
  ["[2001:DB8:1:2::9]:4711", "2001:db8:1:2::"],
  ["[::1]", "::"],
  ["fe80::1%eth0", "fe80::"],
  ["unknown", undefined],
  ["_hidden", undefined],
  ["192.0.2.1:4711:1", undefined],
  ["192.0.2", undefined],
  ["", undefined],
])("the network of %j is %j", (address, network) => {
  expect(clientNetwork(address)).toBe(network);
});
