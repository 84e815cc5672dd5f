import { expect, test } from "vitest";
import { parseProxied } from "../../../src/deploy/compose/proxy-status.ts";

test("the containers that HAProxy asks are those that are up, in the backend of the service", () => {
  const csv = `# pxname,svname,status,check_desc,addr,
service,FRONTEND,OPEN,,,
service,service1,UP,"Layer7 check passed, at last",172.18.0.2:8000,
service,service2,DOWN,"Layer7 ""wrong"" status",172.18.0.4:8000,
service,service3,UP 1/2,,172.18.0.5:8000,
service,service4,MAINT (resolution),,,
service,BACKEND,UP,,,
other,one,UP,,172.18.0.9:8000,
`;
  expect(parseProxied(csv, "service")).toEqual(["172.18.0.2:8000", "172.18.0.5:8000"]);
});
