import { existsSync, readFileSync } from "node:fs";
import { join } from "node:path";

import { describe, expect, test } from "@jest/globals";

import { appError } from "../../../broker/errors.ts";
import { describeSettings, loadConfig } from "../../../lib/config.ts";
import { ERROR_CATALOGUE, type ErrorCode } from "../../../lib/error-catalogue.ts";
import { toProblem } from "../../../lib/problem.ts";
import { envExample } from "../../../scripts/docs/env-example.ts";
import { errorsDoc } from "../../../scripts/docs/errors-doc.ts";
import { generatedFiles, ROOT } from "../../../scripts/docs/generated-files.ts";
import { withSettingsTable } from "../../../scripts/docs/settings-table.ts";

const CODES = Object.keys(ERROR_CATALOGUE) as ErrorCode[];
const README = "# A\n\n<!-- settings:start -->\nwhat was there\n<!-- settings:end -->\n\nafter\n";

describe("a generated file", () => {
  test.each([
    ".env.example",
    "docs/access.md",
    "docs/asyncapi.json",
    "docs/errors.md",
    "docs/events.md",
    "README.md",
  ])("is up to date, otherwise run `npm run docs`: %s", async (path) => {
    const { [path]: text } = await generatedFiles();
    expect(existsSync(join(ROOT, path))).toBe(true);
    expect(readFileSync(join(ROOT, path), "utf8")).toBe(text);
  });
});

describe(".env.example", () => {
  const lines = envExample().split("\n");

  test("sets nothing, so that a copy of it is the default configuration", () => {
    expect(lines.filter((line) => line !== "" && !line.startsWith("#"))).toEqual([]);
  });

  test("has each setting with its default, as it would have to be written", () => {
    const entries = lines.filter((line) => /^#[A-Z]/.test(line)).map((line) => line.slice(1).split("="));
    expect(entries).toEqual(describeSettings().map(({ name, defaultValue }) => [name, defaultValue ?? ""]));
    const { NODE_ID: _ofHost, ...written } = loadConfig(
      Object.fromEntries(entries) as Record<string, string>,
    );
    expect(loadConfig({})).toMatchObject(written);
  });

  test("has lines of at most 100 characters and says how to give a secret", () => {
    expect(Math.max(...lines.map((line) => line.length))).toBeLessThanOrEqual(100);
    expect(envExample()).toContain("NAME_FILE");
  });
});

describe("the table of settings", () => {
  test("has a row for each setting, between the markers of the README", () => {
    const readme = withSettingsTable(README);
    expect(readme).toMatch(
      /^# A\n\n<!-- settings:start -->\n\n\| variable[^]* \|\n\n<!-- settings:end -->\n\nafter\n$/,
    );
    for (const { name, description } of describeSettings()) {
      expect(readme).toMatch(new RegExp(`^\\| \`${name}\` .*\\|$`, "m"));
      expect(readme).toContain(description);
    }
    expect(readme).not.toContain("what was there");
  });

  test("stays the same when it is written again", () => {
    expect(withSettingsTable(withSettingsTable(README))).toBe(withSettingsTable(README));
  });

  test.each(["# A\n", "<!-- settings:start -->\n", "<!-- settings:end -->\n<!-- settings:start -->\n"])(
    "needs both markers: %j",
    (readme) => {
      expect(() => withSettingsTable(readme)).toThrow("The README has no <!-- settings:start -->");
    },
  );
});

describe("docs/errors.md", () => {
  test.each(CODES)("has a section on %s at the anchor that its problem documents link to", (code) => {
    const { status, title, description } = ERROR_CATALOGUE[code];
    const { type } = toProblem(appError(code), { instance: "", requestId: "" });
    const [page, anchor] = type.split("#");
    expect(page).toBe("/docs/errors");
    expect(errorsDoc()).toContain(
      `<a id="${anchor}"></a>\n\n## ${code}\n\n**${status}. ${title}.** ${description}\n`,
    );
    expect(errorsDoc()).toMatch(new RegExp(`^\\| ${status} +\\| \\[\`${code}\`\\]\\(#${anchor}\\) `, "m"));
  });

  test("has no other section", () => {
    expect(errorsDoc().match(/^## \w+$/gm)).toHaveLength(CODES.length);
  });
});
