const SEGMENT = "[a-z\\d_-][a-z\\d._-]{0,199}";
const KEY = new RegExp(`^${SEGMENT}(?:/${SEGMENT})*$`);
const MAX_LENGTH = 500;

/** @throws Error for what is no key: with one, nothing outside the storage could be named */
export function requireKey(key: string): void {
  if (key.length > MAX_LENGTH || !KEY.test(key))
    throw new Error(`No key of a storage: ${JSON.stringify(key)}`);
}

/** @throws Error for what is not the beginning of keys, up to and with a `/` */
export function requirePrefix(prefix: string): void {
  if (!prefix.endsWith("/")) throw new Error(`No prefix of keys: ${JSON.stringify(prefix)}`);
  requireKey(prefix.slice(0, -1));
}
