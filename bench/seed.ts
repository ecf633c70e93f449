import type { Client } from "pg";

const FIRST_NAMES = [
  "Ada",
  "Amara",
  "André",
  "Aylin",
  "Björn",
  "Chen",
  "Chloé",
  "Dmitri",
  "Elena",
  "Fatima",
  "Grace",
  "Hiroshi",
  "Imani",
  "Ingrid",
  "Jamal",
  "João",
  "Kwame",
  "Leila",
  "Mateo",
  "Mei",
  "Ngozi",
  "Olga",
  "Priya",
  "Quentin",
  "Rahul",
  "Sofía",
  "Thabo",
  "Ursula",
  "Valeria",
  "Wei",
  "Ximena",
  "Yuki",
  "Zoë",
];
const LAST_NAMES = [
  "Adeyemi",
  "Andersson",
  "Bauer",
  "Castillo",
  "Dubois",
  "Eriksen",
  "Fernández",
  "García",
  "Haddad",
  "Ivanova",
  "Jansen",
  "Kim",
  "Kowalski",
  "Lindqvist",
  "Lovelace",
  "Mbeki",
  "Müller",
  "Nakamura",
  "Nguyen",
  "O'Connor",
  "Okafor",
  "Papadopoulos",
  "Patel",
  "Rossi",
  "Sato",
  "Schmidt",
  "Silva",
  "Singh",
  "Smith",
  "Tanaka",
  "Wang",
  "Yılmaz",
  "Zhang",
];
/** Repeated ones are more frequent. */
const COUNTRIES = [
  "US",
  "US",
  "US",
  "IN",
  "IN",
  "DE",
  "DE",
  "BR",
  "GB",
  "FR",
  "JP",
  "NG",
  "PL",
  "TR",
  "SE",
  "ZA",
];

/** Two years of sign-ups, evenly spread: every user has its own millisecond. */
const PERIOD_MS = 2 * 365 * 24 * 3600 * 1000;

// Rows go in by the time of their creation and have UUIDv7 ids, as if the users had signed up one after another, so
// that table and indexes have the shape of real ones. The seed of random() makes every run the same.
const INSERT_USERS = `
  INSERT INTO users.users (id, email, first_name, last_name, nickname, country, bio, created_at, updated_at)
  SELECT
    (lpad(to_hex(milliseconds), 12, '0') || '7' || substr(hash, 1, 3) || '8' || substr(hash, 4, 15))::uuid,
    'user.' || n || '@example.com',
    ($2::text[])[1 + floor(random() * cardinality($2))::int],
    ($3::text[])[1 + floor(random() * cardinality($3))::int],
    CASE WHEN random() < 0.3 THEN 'nick' || n END,
    CASE WHEN random() < 0.9 THEN ($4::text[])[1 + floor(random() * cardinality($4))::int] END,
    CASE WHEN random() < 0.4 THEN 'Joined to test the limits of row ' || n || ', and stayed for the company.' END,
    to_timestamp(milliseconds / 1000.0),
    to_timestamp(milliseconds / 1000.0)
  FROM (
    SELECT n, $5::bigint + n * ($6::bigint / $1::bigint) AS milliseconds, md5(n::text) AS hash
    FROM generate_series(1, $1::bigint) AS n
  ) AS numbered`;

/** Fills the empty table with `count` users and leaves it as autovacuum would: statistics and visibility up to date. */
export async function seedUsers(database: Client, count: number): Promise<void> {
  await database.query("SELECT setseed(0.5)");
  const start = Date.now() - PERIOD_MS;
  await database.query(INSERT_USERS, [count, FIRST_NAMES, LAST_NAMES, COUNTRIES, start, PERIOD_MS]);
  await database.query("VACUUM (ANALYZE) users.users");
}

/** About `count` ids, spread evenly over the table. */
export async function sampleIds(database: Client, count: number): Promise<string[]> {
  const { rows } = await database.query<{ id: string }>(
    "SELECT id FROM users.users TABLESAMPLE BERNOULLI (least(100, 100.0 * $1 / (SELECT count(*) FROM users.users)))",
    [count],
  );
  return rows.map(({ id }) => id);
}
