/** Cost of argon2id (RFC 9106). */
export interface HashParameters {
  memoryKiB: number;
  passes: number;
  parallelism: number;
}

/** Parts of a PHC string. */
export interface PasswordHash {
  parameters: HashParameters;
  salt: Buffer;
  hash: Buffer;
}

/** Of the OWASP Password Storage Cheat Sheet: 25 ms and 19 MiB on the machine that this was written on. */
export const CURRENT_PARAMETERS: HashParameters = { memoryKiB: 19_456, passes: 2, parallelism: 1 };

const PHC =
  /^\$argon2id\$v=19\$m=(\d{1,8}),t=(\d{1,4}),p=(\d{1,3})\$([A-Za-z0-9+/]{11,86})\$([A-Za-z0-9+/]{22,86})$/;

/** As https://github.com/P-H-C/phc-string-format has it. */
export function formatPhc({ parameters, salt, hash }: PasswordHash): string {
  const { memoryKiB, passes, parallelism } = parameters;
  return `$argon2id$v=19$m=${memoryKiB},t=${passes},p=${parallelism}$${base64(salt)}$${base64(hash)}`;
}

/** @throws Error for what is no PHC string of argon2id version 19 */
export function parsePhc(phc: string): PasswordHash {
  const match = PHC.exec(phc);
  if (!match) throw new Error("This is no PHC string of argon2id.");
  const [, memoryKiB, passes, parallelism, salt = "", hash = ""] = match;
  return {
    parameters: { memoryKiB: Number(memoryKiB), passes: Number(passes), parallelism: Number(parallelism) },
    salt: Buffer.from(salt, "base64"),
    hash: Buffer.from(hash, "base64"),
  };
}

/** Whether a hash was made at another cost than new ones are. */
export function isOutdated(phc: string): boolean {
  const { parameters } = parsePhc(phc);
  return (Object.keys(parameters) as (keyof HashParameters)[]).some(
    (name) => parameters[name] !== CURRENT_PARAMETERS[name],
  );
}

/** Base64 without padding. */
function base64(bytes: Buffer): string {
  return bytes.toString("base64").replace(/=+$/, "");
}
