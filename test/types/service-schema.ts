/*
 * Checked by the compiler alone: nothing runs this. `this` in a service has the members that are declared, no others.
 */
import type { Context } from "moleculer";

import type { AppServiceSchema } from "../../broker/service-schema.ts";
import type { Equal } from "./equal.ts";

interface Settings {
  idField: string;
}
interface Methods {
  greet(name: string): string;
}
interface Variables {
  count: number;
}

export const service: AppServiceSchema<Settings, Methods, Variables> = {
  name: "greeter",
  settings: { idField: "id" },

  actions: {
    hello: {
      visibility: "published",
      idempotent: true,
      handler(ctx: Context<{ name: string }>) {
        const greeting = this.greet(ctx.params.name);
        true satisfies Equal<typeof greeting, string>;
        true satisfies Equal<typeof this.count, number>;
        true satisfies Equal<typeof this.settings.idField, string>;
        // @ts-expect-error: no such method
        void this.greetAll;
        // @ts-expect-error: no such variable
        this.counter += 1;
        // @ts-expect-error: no such setting
        void this.settings.id;
        // @ts-expect-error: the parameter has another type
        this.greet(1);
        // @ts-expect-error: no such parameter
        void ctx.params.title;
        return greeting;
      },
    },
    off: false,
    // @ts-expect-error: no such option of an action
    wrong: { idempotant: true, handler: () => 1 },
  },

  methods: {
    greet(name: string) {
      return `Hello ${name}`;
    },
  },

  created() {
    this.count = 0;
    // @ts-expect-error: the variable has another type
    this.count = "0";
    // @ts-expect-error: no such variable
    this.total = 0;
  },

  started() {
    // @ts-expect-error: no such method
    void this.connect;
  },
};
