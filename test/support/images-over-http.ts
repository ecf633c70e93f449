import assert from "node:assert/strict";

import { fileForm } from "./multipart.ts";
import { noisePicture } from "./pictures.ts";
import type { RestClient, RestResponse } from "./rest-client.ts";

/** The members of an image that tests look at. */
export interface ImageBody {
  readonly id: string;
  readonly userId: string;
  readonly visibility: string;
  readonly width: number;
  readonly height: number;
  readonly bytes: number;
  readonly sha256: string;
  readonly urls: Readonly<Record<string, Readonly<Record<string, string>>>>;
}

export const imagesOf = (userId: string): string => `/api/v1/users/${userId}/images`;

/** Sends a file in a form, as a browser does. */
export function sendFile(
  client: RestClient,
  path: string,
  content: Buffer,
  headers: Readonly<Record<string, string>> = {},
): Promise<RestResponse> {
  const form = fileForm(content);
  return client.post(path, form.body, { ...form.headers, ...headers });
}

/** Gives a user an image, of noise unless there is another one. */
export async function createImage(
  client: RestClient,
  userId: string,
  { content, query = "" }: { content?: Buffer; query?: string } = {},
): Promise<ImageBody> {
  const response = await sendFile(client, imagesOf(userId) + query, content ?? (await noisePicture()));
  assert.equal(response.status, 201, response.text);
  return response.json as ImageBody;
}

/** Every URL of an image. */
export function urlsOf({ urls }: ImageBody): string[] {
  return Object.values(urls).flatMap((files) => Object.values(files));
}
