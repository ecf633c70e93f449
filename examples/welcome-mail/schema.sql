CREATE SCHEMA welcome_mail;

CREATE TABLE welcome_mail.outgoing (
  user_id uuid PRIMARY KEY,
  address text NOT NULL,
  text    text NOT NULL
);
