/**
 * What users and backends log in with. Nothing here is enough to log in: passwords are argon2id hashes, refresh tokens
 * and API keys are random enough for one SHA-256.
 */
export const sql = `
  CREATE SCHEMA auth;

  CREATE TABLE auth.credentials (
    user_id       uuid PRIMARY KEY,
    -- PHC string.
    password_hash text NOT NULL,
    -- Grows when all sessions of the user end, so that a login that began before makes no new one.
    generation    integer NOT NULL DEFAULT 1,
    changed_at    timestamptz(3) NOT NULL,
    -- Null: it was set for a user that may never have been created.
    confirmed_at  timestamptz(3)
  );
  CREATE INDEX credentials_unconfirmed ON auth.credentials (changed_at) WHERE confirmed_at IS NULL;

  -- A session is a family of refresh tokens: each of them was exchanged for the next.
  CREATE TABLE auth.sessions (
    id           uuid PRIMARY KEY,
    -- Null: the user was erased.
    user_id      uuid,
    created_at   timestamptz(3) NOT NULL,
    last_used_at timestamptz(3) NOT NULL,
    expires_at   timestamptz(3) NOT NULL,
    ended_at     timestamptz(3)
  );
  CREATE INDEX sessions_of_user ON auth.sessions (user_id) WHERE ended_at IS NULL;
  CREATE INDEX sessions_ended ON auth.sessions (ended_at) WHERE ended_at IS NOT NULL;
  CREATE INDEX sessions_by_expiry ON auth.sessions (expires_at);

  CREATE TABLE auth.refresh_tokens (
    -- SHA-256.
    hash       bytea PRIMARY KEY,
    session_id uuid NOT NULL REFERENCES auth.sessions ON DELETE CASCADE,
    expires_at timestamptz(3) NOT NULL,
    rotated_at timestamptz(3),
    -- The next token, for a retry of the request that made it; the token itself and the key of that request open it.
    successor  text
  );
  CREATE INDEX refresh_tokens_of_session ON auth.refresh_tokens (session_id);
  CREATE INDEX refresh_tokens_by_expiry ON auth.refresh_tokens (expires_at);

  CREATE TABLE auth.api_keys (
    id                   uuid PRIMARY KEY,
    name                 text NOT NULL,
    prefix               text NOT NULL UNIQUE,
    scopes               text[] NOT NULL,
    -- SHA-256 of whole keys.
    hash                 bytea NOT NULL,
    previous_hash        bytea,
    previous_valid_until timestamptz(3),
    created_at           timestamptz(3) NOT NULL,
    expires_at           timestamptz(3),
    last_used_at         timestamptz(3),
    revoked_at           timestamptz(3)
  );
`;
