import { expect, test } from "@jest/globals";

import { SharedPlaces } from "../../../../services/api/shared-places.ts";

const FULL = { type: "OVERLOADED", code: 503 };
const HAS_SOME = { type: "TOO_MANY_UPLOADS", code: 429 };

const placesFor = (count: number) => new SharedPlaces(count, "TOO_MANY_UPLOADS");

/** Uploads of clients that end when they are told to. */
function uploadsIn(places: SharedPlaces) {
  const ends: (() => void)[] = [];
  const upload = (client: string): Promise<void> =>
    places.run(client, () => new Promise<void>((resolve) => ends.push(resolve)));
  const uploads = (client: string, count: number) => Array.from({ length: count }, () => upload(client));
  return { ends, upload, uploads };
}

test("a client alone gets all places but the last sixth", async () => {
  const { ends, upload, uploads } = uploadsIn(placesFor(24));
  const running = uploads("ada", 20);
  await expect(upload("ada")).rejects.toMatchObject(HAS_SOME);
  for (const end of ends) end();
  await Promise.all(running);
});

test("the last places go to clients that have none, one to each", async () => {
  const { ends, upload, uploads } = uploadsIn(placesFor(12));
  const running = [...uploads("ada", 10), upload("bob")];
  await expect(upload("bob")).rejects.toMatchObject(HAS_SOME);
  running.push(upload("eve"));
  await expect(upload("eve")).rejects.toMatchObject(HAS_SOME);
  await expect(upload("zoe")).rejects.toMatchObject(FULL);
  for (const end of ends) end();
  await Promise.all(running);
});

test.each([1, 2])("of %i places, a client has one at a time", async (count) => {
  const { ends, upload } = uploadsIn(placesFor(count));
  const running = upload("ada");
  await expect(upload("ada")).rejects.toMatchObject(HAS_SOME);
  ends[0]?.();
  await running;
});

test("the places of uploads that have ended, in whatever way, can be taken again", async () => {
  const places = placesFor(12);
  const { ends, upload, uploads } = uploadsIn(places);
  for (let round = 0; round < 3; round += 1) {
    const failing = places.run("ada", () => Promise.reject(new Error("broken off")));
    await expect(failing).rejects.toThrow("broken off");
    const running = [...uploads("ada", 10), upload("bob"), upload("eve")];
    for (const end of ends.splice(0)) end();
    await Promise.all(running);
  }
});
