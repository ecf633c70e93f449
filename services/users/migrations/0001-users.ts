/**
 * Users. Addresses are stored normalised, so equality is enough to compare them. Text is compared with the ICU root
 * collation, which every PostgreSQL has, so that order and letter case do not depend on the locale of the server.
 */
export const sql = `
  CREATE SCHEMA users;

  CREATE TABLE users.users (
    id         uuid PRIMARY KEY,
    email      text NOT NULL,
    first_name text NOT NULL,
    last_name  text NOT NULL,
    nickname   text,
    country    text CHECK (country ~ '^[A-Z]{2}$'),
    bio        text,
    image_urls text[] NOT NULL DEFAULT '{}',
    avatar_url text,
    role       text NOT NULL DEFAULT 'user' CHECK (role IN ('user', 'admin')),
    status     text NOT NULL DEFAULT 'active' CHECK (status IN ('active', 'suspended')),
    version    integer NOT NULL DEFAULT 1 CHECK (version > 0),
    -- Milliseconds, as JavaScript has them: with more digits a cursor would not find its row again.
    created_at timestamptz(3) NOT NULL,
    updated_at timestamptz(3) NOT NULL,
    deleted_at timestamptz(3)
  );

  CREATE UNIQUE INDEX users_email_unique ON users.users (email) WHERE deleted_at IS NULL;

  -- One index for each sort, in both directions, and for the most selective filters with the default sort.
  CREATE INDEX users_by_created_at ON users.users (created_at, id) WHERE deleted_at IS NULL;
  CREATE INDEX users_by_last_name ON users.users (last_name COLLATE "und-x-icu", id) WHERE deleted_at IS NULL;
  CREATE INDEX users_by_country ON users.users (country, created_at, id) WHERE deleted_at IS NULL;
  CREATE INDEX users_suspended ON users.users (created_at, id) WHERE deleted_at IS NULL AND status = 'suspended';
  CREATE INDEX users_deleted ON users.users (created_at, id) WHERE deleted_at IS NOT NULL;

  -- Prefix search.
  CREATE INDEX users_email_prefix ON users.users (email text_pattern_ops) WHERE deleted_at IS NULL;
  CREATE INDEX users_first_name_prefix ON users.users (lower(first_name COLLATE "und-x-icu") text_pattern_ops)
    WHERE deleted_at IS NULL;
  CREATE INDEX users_last_name_prefix ON users.users (lower(last_name COLLATE "und-x-icu") text_pattern_ops)
    WHERE deleted_at IS NULL;
  -- The planner takes no statistics from partial indexes. Without these it thinks that every prefix is common, and
  -- looks for a rare one in the whole list.
  CREATE STATISTICS users.users_first_name_prefix ON (lower(first_name COLLATE "und-x-icu")) FROM users.users;
  CREATE STATISTICS users.users_last_name_prefix ON (lower(last_name COLLATE "und-x-icu")) FROM users.users;
`;
