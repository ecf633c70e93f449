import type { ActionName } from "./contracts.ts";
import type { Principal, Scope } from "./principal.ts";
import { StartupError } from "./startup-error.ts";

type Parameters = Readonly<Record<string, unknown>>;

/** Who may make a call. Services of the system always may; others only where a member names them. */
export interface AccessRule {
  /** Whoever it is, also without credentials; "sign-up": while SIGNUP is open. */
  anyone?: true | "sign-up";
  /**
   * Users: all of them, or only the one whose id is in this parameter. "owner": whose a thing is only its row says, so all
   * of them here, and to others than its owner the action answers that there is none.
   */
  users?: "all" | "owner" | { self: string };
  admins?: true;
  /** API keys that have this scope; "any": all of them. */
  scope?: Scope | "any";
  /** Parameters that only an admin may give, and only about another user. */
  privileged?: readonly string[];
}

/** What the table depends on. */
export interface AccessSettings {
  isSignupOpen: boolean;
}

const SERVICES_ONLY: AccessRule = {};

const ANYONE: AccessRule = { anyone: true };
const ADMINS: AccessRule = { admins: true };
const USERS: AccessRule = { users: "all" };

/** A user itself, an admin, or a backend with the scope. */
const ownOr = (scope: Scope): AccessRule => ({ users: { self: "id" }, admins: true, scope });
const adminOr = (scope: Scope): AccessRule => ({ admins: true, scope });

/**
 * Who may call which action, and so who may use the routes that lead to it. Every node refuses calls by this table,
 * the gateway before it reads a body; `docs/access.md` is generated from it.
 */
export const ACTION_ACCESS = {
  "auth.health": SERVICES_ONLY,
  "auth.login": ANYONE,
  "auth.refresh": ANYONE,
  "auth.logout": ANYONE,
  "auth.me": { users: "all", scope: "any" },
  "auth.changePassword": USERS,
  "auth.createApiKey": ADMINS,
  "auth.listApiKeys": ADMINS,
  "auth.revokeApiKey": ADMINS,
  "auth.rotateApiKey": ADMINS,
  "auth.setPassword": SERVICES_ONLY,
  "auth.checkApiKey": SERVICES_ONLY,
  "auth.keys": ANYONE,
  "auth.revocations": SERVICES_ONLY,
  "auth.endSessions": SERVICES_ONLY,
  "auth.exportUser": SERVICES_ONLY,
  "auth.eraseUser": SERVICES_ONLY,

  "cache.health": SERVICES_ONLY,
  "cache.stats": adminOr("cache:read"),
  "cache.purge": adminOr("cache:write"),
  "cache.warm": adminOr("cache:write"),
  "cache-node.stats": SERVICES_ONLY,
  "cache-node.recent": SERVICES_ONLY,

  "events.health": SERVICES_ONLY,
  "events.list": adminOr("events:read"),
  "events.listInPieces": adminOr("events:read"),
  "events.replay": SERVICES_ONLY,
  "events.status": SERVICES_ONLY,
  "events.deadLetters": SERVICES_ONLY,
  "events.replayDeadLetter": SERVICES_ONLY,

  "images.health": SERVICES_ONLY,
  "images.create": ownOr("images:write"),
  "images.startUpload": ownOr("images:write"),
  "images.completeUpload": ownOr("images:write"),
  "images.list": ownOr("images:read"),
  "images.get": { users: "owner", admins: true, scope: "images:read" },
  "images.delete": { users: "owner", admins: true, scope: "images:write" },
  "images.setAvatar": ownOr("images:write"),
  "images.clearAvatar": ownOr("images:write"),
  "images.ofUser": SERVICES_ONLY,
  "images.render": SERVICES_ONLY,
  "images.reconcile": SERVICES_ONLY,

  "users.health": SERVICES_ONLY,
  "users.create": { anyone: "sign-up", admins: true, scope: "users:write" },
  "users.createAdmin": SERVICES_ONLY,
  "users.findMissing": SERVICES_ONLY,
  "users.showImages": SERVICES_ONLY,
  "users.get": ownOr("users:read"),
  "users.getByEmail": adminOr("users:read"),
  "users.list": adminOr("users:read"),
  "users.replace": ownOr("users:write"),
  "users.update": { ...ownOr("users:write"), privileged: ["role"] },
  "users.suspend": adminOr("users:write"),
  "users.unsuspend": adminOr("users:write"),
  "users.delete": ownOr("users:write"),
  "users.restore": adminOr("users:write"),
  "users.erase": adminOr("users:write"),
  "users.export": { users: { self: "id" }, admins: true },
  "users.history": ADMINS,
} satisfies Record<ActionName, AccessRule>;

/** Who may use the routes that the gateway answers itself. */
export const PATH_ACCESS: Readonly<Record<string, AccessRule>> = {
  "/health": ANYONE,
  "/health/live": ANYONE,
  "/health/ready": ANYONE,
  "/health-check/liveness": ANYONE,
  "/health-check/readiness": ANYONE,
  "/media/:hash/:file": ANYONE,
  // Whoever has the signed URL.
  "/media/private/:hash/:file": ANYONE,
  "/api/v1/uploads/:uploadId": ANYONE,
};

/** The rule of an action; one that is not in the table, such as Moleculer's own, is for services only. */
export function accessOf(action: string): AccessRule {
  return Object.hasOwn(ACTION_ACCESS, action) ? ACTION_ACCESS[action as ActionName] : SERVICES_ONLY;
}

/**
 * Makes sure that somebody has decided who may use each route.
 *
 * @throws StartupError that names those without an entry
 */
export function requireAccessEntries(routes: readonly { path: string; action?: string }[]): void {
  const undecided = routes.filter(({ path, action }) =>
    action === undefined ? !Object.hasOwn(PATH_ACCESS, path) : !Object.hasOwn(ACTION_ACCESS, action),
  );
  if (undecided.length === 0) return;
  const names = undecided.map(({ path, action = "no action" }) => `${path} (${action})`);
  throw new StartupError(`lib/access.ts does not say who may use ${names.join(", ")}.`);
}

/** What a rule says against a call with these parameters by this principal; undefined when it is allowed. */
export function refusalOf(
  rule: AccessRule,
  principal: Principal,
  params: Parameters,
  settings: AccessSettings,
): "UNAUTHENTICATED" | "FORBIDDEN" | undefined {
  if (isAllowed(rule, principal, params, settings)) return undefined;
  return principal.kind === "anonymous" ? "UNAUTHENTICATED" : "FORBIDDEN";
}

function isAllowed(
  rule: AccessRule,
  principal: Principal,
  params: Parameters,
  { isSignupOpen }: AccessSettings,
): boolean {
  if (principal.kind === "service") return true;
  const isAdmin = principal.kind === "user" && principal.role === "admin" && rule.admins === true;
  if (rule.privileged?.some((name) => params[name] !== undefined)) {
    return isAdmin && !isAbout(principal.id, rule, params);
  }
  if (isAdmin || rule.anyone === true || (rule.anyone === "sign-up" && isSignupOpen)) return true;
  if (principal.kind === "anonymous") return false;
  if (principal.kind === "api-key") {
    return rule.scope === "any" || (rule.scope !== undefined && principal.scopes.includes(rule.scope));
  }
  return rule.users === "all" || rule.users === "owner" || isAbout(principal.id, rule, params);
}

/** Ids of users come from clients, who may write them in capitals; that of a principal comes from us. */
function isAbout(userId: string, { users }: AccessRule, params: Parameters): boolean {
  if (typeof users !== "object") return false;
  const id = params[users.self];
  return typeof id === "string" && (id === userId || id.toLowerCase() === userId);
}
