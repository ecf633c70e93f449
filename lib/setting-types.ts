import { z } from "zod";

/*
 * How settings are written in the environment, where everything is text.
 */

/** Ends what is said of a secret that is missing or too short. */
export const SECRET_ADVICE = "`openssl rand -hex 32` makes one";

// Only digits: `Number` also takes " " for 0 and "0x10" for 16.
export const wholeNumber = (minimum: number, maximum: number) =>
  z
    .string()
    .regex(/^\d+$/, "must be a whole number")
    .transform(Number)
    .pipe(z.number().min(minimum).max(maximum));
export const milliseconds = wholeNumber;

/** @param schemes without `://` */
export const urlOf = (...schemes: string[]) =>
  z
    .string()
    .refine((value) => URL.canParse(value) && schemes.some((scheme) => value.startsWith(`${scheme}://`)), {
      message: `must be a URL starting with ${schemes.map((scheme) => `${scheme}://`).join(" or ")}`,
    });

/** Entries separated by commas, each of them once. */
export const listOf = <T extends z.ZodType<unknown, string>>(item: T) =>
  z
    .string()
    .transform((value) => {
      const entries = value.split(",").map((entry) => entry.trim());
      return [...new Set(entries)].filter((entry) => entry !== "");
    })
    .pipe(z.array(item));

export const originOf = z.string().refine((value) => URL.canParse(value) && new URL(value).origin === value, {
  message: "must be an origin such as https://app.example.com, without a path",
});

/** Without a trailing slash. */
export const baseUrlOf = z
  .string()
  .refine((value) => /^https?:\/\/[^?#]+$/.test(value) && URL.canParse(value), {
    message: "must be a URL such as https://cdn.example.com, without a query",
  })
  .transform((value) => value.replace(/\/+$/, ""));
