import { expect, test } from "vitest";
import config from "../../../vitest.config.ts";

test("coverage counts every file of src: what is left out would be taken for tested", () => {
  expect(config.test?.coverage).toMatchObject({ include: ["src/**"] });
  expect(config.test?.coverage).not.toHaveProperty("exclude");
});
