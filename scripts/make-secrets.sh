#!/bin/sh
# Writes into the folder that it is given the secrets that docker-compose.yml and k8s/kustomization.yaml name. What is
# there already is kept, so that it can be run again after a new secret was added here.
set -eu

dir=${1:?usage: make-secrets.sh FOLDER}
# Only the owner can get into the folder. The files in it can be read by all, because in their containers the servers
# run as other users, who see the file itself and not the folder.
mkdir -p "$dir"
chmod 700 "$dir"

# So many random bytes, in hexadecimal.
random() {
  od -An -tx1 -v -N"$1" /dev/urandom | tr -d ' \n'
}

# Writes standard input to a file unless it exists: a whole file or none.
write() {
  if [ -e "$dir/$1" ]; then
    cat >/dev/null
  else
    cat >"$dir/.$1.new"
    chmod 444 "$dir/.$1.new"
    mv "$dir/.$1.new" "$dir/$1"
  fi
}

random 24 | write secret
random 32 | write auth-keys
random 12 | write admin-password
random 24 | write postgres-password
random 24 | write nats-password
random 24 | write redis-password
postgres=$(cat "$dir/postgres-password") nats=$(cat "$dir/nats-password") redis=$(cat "$dir/redis-password")

printf 'postgres://rollcall:%s@postgres:5432/rollcall' "$postgres" | write database-url
printf 'authorization { user: rollcall, password: "%s" }\n' "$nats" | write nats-auth.conf
printf 'nats://rollcall:%s@nats:4222' "$nats" | write nats-url
printf 'requirepass %s\n' "$redis" | write redis.conf
printf 'redis://:%s@redis:6379' "$redis" | write redis-url
