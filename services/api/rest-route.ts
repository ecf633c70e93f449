import type { ActionMap, ActionName } from "../../lib/contracts.ts";

/** What the paths of the API begin with. */
export const API_PREFIX = "/api/v1";

export type Method = "GET" | "POST" | "PUT" | "PATCH" | "DELETE";

/** A route of the REST API: which action answers it, and how its result becomes a response. */
export type RestRoute = {
  [Name in ActionName]: {
    method: Method;
    /** `:name` is a path parameter, passed on under that name. */
    path: string;
    action: Name;
    /** Status of success. */
    status: 200 | 201 | 204;
    /** The request takes more than one call and one result. The action says who may. */
    answer?: "feed" | "stream" | "imageContent";
    /**
     * What the body is, if it has one: a resource has an ETag, from its version unless that says not all, a page has
     * links. Also the root element in XML.
     */
    representation?: { kind: "resource" | "page" | "plain"; xmlRoot: string; isTaggedByContent?: boolean };
    /** How the answer may be cached, if not by the client alone and only to be checked again. */
    cacheControl?: string;
    /** Of a created resource. */
    location?: (result: ActionMap[Name]["result"]) => string;
    /** Media types that the request body may have; none: the route takes no body. */
    consumes?: readonly string[];
    isBodyOptional?: boolean;
    /** The body is a file, which the action finds in the storage. */
    takesFile?: boolean;
    /** Takes parameters in the query though it changes something. */
    takesQuery?: boolean;
    /** The action takes `expectedVersions`, so the route honours `If-Match`. */
    takesIfMatch?: boolean;
  };
}[ActionName];

/** Media types of a body that is a whole resource or a command. */
export const JSON_BODY = ["application/json"];
/** Media types of a body that changes parts of a resource. */
export const PATCH_BODY = ["application/json", "application/merge-patch+json"];
