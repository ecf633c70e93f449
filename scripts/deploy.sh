#!/bin/sh
# Applies k8s/, or k8s-kind/, to the cluster of kubectl's current context: first the servers, then the migrations, then the
# nodes, so that none starts before what it needs. Can be run again at any time; it waits until everything is ready.
set -eu
cd "$(dirname "$0")/.."

fail() {
  echo "$1" >&2
  exit 1
}
in_namespace() {
  kubectl --namespace rollcall "$@"
}
apply() {
  kubectl apply --kustomize "$kustomization" --selector "$1"
}

kubectl version >/dev/null 2>&1 ||
  fail "kubectl reaches no cluster; 'kubectl version' says why. 'make cluster-create' makes one on this machine, with kind."

# Those of the cluster are in use: PostgreSQL keeps the password that it was made with.
[ -d k8s/secrets ] || ! in_namespace get statefulset postgres >/dev/null 2>&1 ||
  fail "The cluster was set up with other secrets: bring back its folder k8s/secrets, or run 'make delete-all' to lose its data."
scripts/make-secrets.sh k8s/secrets

kustomization=k8s
context=$(kubectl config current-context)
case $context in
  kind-*)
    kustomization=k8s-kind
    # It has no registry to get the image from.
    kind load docker-image "${1:?usage: deploy.sh IMAGE}" --name "${context#kind-}"
    ;;
esac

apply 'tier notin (migration, node)'
for server in postgres nats redis; do
  in_namespace rollout status "statefulset/$server" --timeout=5m
done

in_namespace delete job migrate --ignore-not-found
apply 'tier=migration'
# It ends in any case: the Job has a deadline.
until in_namespace wait --for=condition=complete --timeout=2s job/migrate 2>/dev/null; do
  failed=$(in_namespace get job migrate --output 'jsonpath={.status.conditions[?(@.type=="Failed")].reason}')
  [ -z "$failed" ] || {
    in_namespace logs --selector app.kubernetes.io/component=migrate --prefix --tail 20 >&2
    fail "The migration failed: $failed."
  }
done

apply 'tier=node'
for deployment in users auth events images cache gateway; do
  in_namespace rollout status "deployment/$deployment" --timeout=5m
done
