import { RestClient, type RestClientOptions } from "./rest-client.ts";
import { waitFor } from "./wait-for.ts";

/** The first admin of every node that a test starts. */
export const ADMIN = { email: "admin@example.com", password: "the password of the tests" };

/** Settings that make this admin. */
export const ADMIN_SETTINGS = { ADMIN_EMAIL: ADMIN.email, ADMIN_PASSWORD: ADMIN.password };

/** A client with an access token of the admin, which is valid for 15 minutes. */
export async function adminClient(url: string, options: RestClientOptions = {}): Promise<RestClient> {
  return new RestClient(url, { ...options, token: await logIn(url, ADMIN) });
}

/**
 * Logs in and returns the access token. Right after its start a system may still be about to make its admin.
 *
 * @throws {Error} when the login is refused for too long
 */
export async function logIn(
  url: string,
  { email, password }: { email: string; password: string },
): Promise<string> {
  const client = new RestClient(url);
  try {
    return await waitFor(
      async () => {
        const response = await client.post("/api/v1/auth/login", { email, password });
        if (response.status !== 200) throw new Error(response.text);
        return (response.json as { accessToken: string }).accessToken;
      },
      { description: `the login of ${email}`, intervalMs: 100 },
    );
  } finally {
    client.close();
  }
}
