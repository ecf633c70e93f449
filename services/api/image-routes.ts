import { API_PREFIX, JSON_BODY, type RestRoute } from "./rest-route.ts";

/** Its URLs change while its version does not, so its ETag is made from all of it. */
const IMAGE = { kind: "resource", xmlRoot: "image", isTaggedByContent: true } as const;
const IMAGES = { kind: "page", xmlRoot: "images" } as const;
const UPLOAD = { representation: { kind: "plain", xmlRoot: "upload" }, cacheControl: "no-store" } as const;

const locationOf = ({ id }: { id: string }) => `${API_PREFIX}/images/${id}`;

function routesBelow(base: string): RestRoute[] {
  const user = `${base}/:id`;
  return [
    {
      method: "POST",
      path: `${user}/images`,
      action: "images.create",
      status: 201,
      representation: IMAGE,
      location: locationOf,
      takesFile: true,
    },
    { method: "GET", path: `${user}/images`, action: "images.list", status: 200, representation: IMAGES },
    {
      method: "POST",
      path: `${user}/images/uploads`,
      action: "images.startUpload",
      status: 201,
      consumes: JSON_BODY,
      ...UPLOAD,
    },
    {
      method: "POST",
      path: `${user}/images/uploads/:uploadId/complete`,
      action: "images.completeUpload",
      status: 201,
      representation: IMAGE,
      location: locationOf,
    },
    {
      method: "PUT",
      path: `${user}/avatar`,
      action: "images.setAvatar",
      status: 200,
      representation: IMAGE,
      consumes: JSON_BODY,
    },
    { method: "DELETE", path: `${user}/avatar`, action: "images.clearAvatar", status: 204 },
  ];
}

/** The images of users, below the two paths of a user, and each by itself. */
export const IMAGE_ROUTES: readonly RestRoute[] = [
  ...routesBelow(`${API_PREFIX}/users`),
  ...routesBelow(`${API_PREFIX}/profiles`),
  {
    method: "GET",
    path: `${API_PREFIX}/images/:id`,
    action: "images.get",
    status: 200,
    representation: IMAGE,
  },
  { method: "DELETE", path: `${API_PREFIX}/images/:id`, action: "images.delete", status: 204 },
  {
    method: "GET",
    path: `${API_PREFIX}/images/:id/content`,
    action: "images.get",
    status: 200,
    answer: "imageContent",
  },
];
