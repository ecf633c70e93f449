import { ERROR_CATALOGUE, type ErrorCode, type ErrorDefinition } from "../../lib/error-catalogue.ts";
import { problemType, type Problem } from "../../lib/problem.ts";
import { markdownTable } from "./markdown.ts";

const EXAMPLE: Problem = {
  type: problemType("VALIDATION_FAILED"),
  title: ERROR_CATALOGUE.VALIDATION_FAILED.title,
  status: ERROR_CATALOGUE.VALIDATION_FAILED.status,
  detail: ERROR_CATALOGUE.VALIDATION_FAILED.title,
  instance: "/api/v1/users",
  code: "VALIDATION_FAILED",
  requestId: "01890a5d-ac96-774b-bcce-b302099a8057",
  retryable: ERROR_CATALOGUE.VALIDATION_FAILED.retryable,
  errors: [{ field: "firstName", rule: "required", message: "The 'firstName' field is required." }],
};

const INTRODUCTION = `# Errors

<!-- Generated from lib/error-catalogue.ts by \`npm run docs\`. -->

Every answer with a status of 400 or above is a problem document (RFC 9457), \`application/problem+json\` or, for who
accepts XML, \`application/problem+xml\`:

\`\`\`json
${JSON.stringify(EXAMPLE, null, 2)}
\`\`\`

\`code\` is what programs act on: one of the codes below, which do not change. \`type\` names the section of this page
about it, and is an identifier: nothing is served there. \`detail\` is for people. \`errors\` is there when fields or
parameters are wrong. \`requestId\` is also in the header \`X-Request-Id\` and in the logs. When \`retryable\` is true, the
same request may succeed later; send a write again with the same \`Idempotency-Key\`, so that it is executed once.
`;

/** The text of `docs/errors.md`: a table of all codes, and a section for each that its \`type\` links to. */
export function errorsDoc(): string {
  const definitions = Object.entries<ErrorDefinition>(ERROR_CATALOGUE) as [ErrorCode, ErrorDefinition][];
  const rows = definitions.map(([code, { status, title, retryable }]) => [
    String(status),
    `[\`${code}\`](#${anchorOf(code)})`,
    title,
    retryable ? "yes" : "no",
  ]);
  const table = markdownTable(["status", "code", "title", "retryable"], rows);
  return [INTRODUCTION, `${table}\n`, ...definitions.map(section)].join("\n");
}

function section([code, { status, title, description }]: [ErrorCode, ErrorDefinition]): string {
  // The heading's own anchor would be `user_not_found`.
  return `<a id="${anchorOf(code)}"></a>

## ${code}

**${status}. ${title}.** ${description}
`;
}

function anchorOf(code: ErrorCode): string {
  return new URL(problemType(code), "http://docs").hash.slice(1);
}
