/** Images: a row for each, what users show of them, and the bytes that are to be removed or still to come. */
export const sql = `
  CREATE SCHEMA images;

  CREATE TABLE images.owners (
    user_id      uuid PRIMARY KEY,
    -- The version in which the user was deleted or erased: images for it, or for one before, are no longer made. Every
    -- creation shares a lock of this row, so none is under way when it is set.
    gone_version integer
  );

  CREATE TABLE images.images (
    id             uuid PRIMARY KEY,
    user_id        uuid NOT NULL REFERENCES images.owners,
    -- The version of the user that the image was made for.
    user_version   integer NOT NULL,
    visibility     text NOT NULL CHECK (visibility IN ('public', 'private')),
    -- In the order of the keys of a storage, whatever the locale of the server.
    hash           text COLLATE "C" NOT NULL UNIQUE,
    sha256         text NOT NULL,
    format         text NOT NULL,
    width          integer NOT NULL,
    height         integer NOT NULL,
    bytes          integer NOT NULL,
    thumbhash      text NOT NULL,
    dominant_color text NOT NULL,
    -- Milliseconds, as JavaScript has them: with more digits a cursor would not find its row again.
    created_at     timestamptz(3) NOT NULL
  );
  CREATE INDEX images_by_user ON images.images (user_id, created_at, id);
  -- What a user shows: few of its images may be public.
  CREATE INDEX images_public_by_user ON images.images (user_id, created_at, id) WHERE visibility = 'public';

  -- Not a column of owners: setting it would wait for every upload of the user that is under way.
  CREATE TABLE images.avatars (
    user_id  uuid PRIMARY KEY,
    image_id uuid NOT NULL UNIQUE REFERENCES images.images ON DELETE CASCADE
  );

  -- Uploads for which clients send the bytes to the storage themselves.
  CREATE TABLE images.uploads (
    id         uuid PRIMARY KEY,
    user_id    uuid NOT NULL,
    visibility text NOT NULL,
    bytes      integer NOT NULL,
    expires_at timestamptz(3) NOT NULL
  );
  CREATE INDEX uploads_by_user ON images.uploads (user_id);
  CREATE INDEX uploads_by_expiry ON images.uploads (expires_at);

  -- Bytes to be removed. Written before the bytes of an image are, and deleted with the insertion of its row: of an image
  -- that does not come to be, nothing stays.
  CREATE TABLE images.removals (
    image_id   uuid PRIMARY KEY,
    visibility text NOT NULL,
    hash       text NOT NULL,
    attempts   integer NOT NULL DEFAULT 0,
    not_before timestamptz(3) NOT NULL
  );
  CREATE INDEX removals_by_time ON images.removals (not_before);

  -- Images that are gone, for as long as the log may have events about them: erasing the user empties those too.
  CREATE TABLE images.deleted (
    image_id   uuid PRIMARY KEY,
    user_id    uuid NOT NULL,
    deleted_at timestamptz(3) NOT NULL
  );
  CREATE INDEX deleted_by_user ON images.deleted (user_id);
  CREATE INDEX deleted_by_time ON images.deleted (deleted_at);
`;
