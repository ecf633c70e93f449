type IsAny<T> = 0 extends 1 & T ? true : false;

/** Whether each of two types is assignable to the other; `any`, which is to everything, equals only itself. */
export type Equal<A, B> =
  IsAny<A> extends true ? IsAny<B> : IsAny<B> extends true ? false : [A, B] extends [B, A] ? true : false;

true satisfies Equal<{ a: string }, { a: string }>;
// @ts-expect-error: one is wider
true satisfies Equal<string, string | null>;
// @ts-expect-error: a member may be absent
true satisfies Equal<{ a: string }, { a?: string }>;
// @ts-expect-error: `any` is assignable to both, and the same as neither
true satisfies Equal<ReturnType<typeof JSON.parse>, string>;
