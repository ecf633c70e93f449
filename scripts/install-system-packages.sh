#!/bin/sh
# Installs the servers that the tests start for themselves, when they are missing: nats-server, redis-server and
# prometheus (with promtool). No npm package contains them. Installs nothing and fails with a clear message when it may
# not.
set -eu

# Debian puts servers where an ordinary user's PATH does not look.
PATH="$PATH:/usr/local/sbin:/usr/sbin:/sbin"

missing=
for server in nats-server redis-server prometheus; do
  command -v "$server" >/dev/null 2>&1 || missing="$missing $server"
done
[ -n "$missing" ] || exit 0

refuse() {
  echo "The tests need$missing, and $1." >&2
  echo "Install them (Debian, Ubuntu: apt-get install nats-server redis-server prometheus) and try again." >&2
  exit 1
}

if [ "$(id -u)" = 0 ]; then
  as_root=
elif sudo -n true 2>/dev/null; then
  as_root="sudo -n"
else
  as_root=
  command -v brew >/dev/null 2>&1 || refuse "they can only be installed as root"
fi

# Debian starts a service as soon as it is installed, unless this file says no.
policy=/usr/sbin/policy-rc.d
install_with_apt() {
  if [ ! -e "$policy" ]; then
    trap '$as_root rm -f "$policy"' EXIT
    trap 'exit 130' INT TERM
    printf '#!/bin/sh\nexit 101\n' | $as_root tee "$policy" >/dev/null
    $as_root chmod 755 "$policy"
  fi
  $as_root apt-get update -qq
  # shellcheck disable=SC2086 # one word a package
  $as_root env DEBIAN_FRONTEND=noninteractive apt-get install -y -qq --no-install-recommends $missing
}

echo "Installing$missing ..."
if command -v apt-get >/dev/null 2>&1; then
  install_with_apt || refuse "apt-get failed"
elif command -v dnf >/dev/null 2>&1; then
  $as_root dnf install -y -q nats-server redis golang-github-prometheus || refuse "dnf failed"
elif command -v apk >/dev/null 2>&1; then
  $as_root apk add --quiet nats-server redis prometheus || refuse "apk failed"
elif command -v brew >/dev/null 2>&1; then
  brew install --quiet nats-server redis prometheus || refuse "brew failed"
else
  refuse "no known package manager was found"
fi

for server in $missing; do
  command -v "$server" >/dev/null 2>&1 || refuse "$server is still not found"
done
