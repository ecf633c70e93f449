import DbService from "moleculer-db";
import SequelizeDbAdapter from "moleculer-db-adapter-sequelize";
import type { Context, Service, ServiceSchema } from "moleculer";
import type { Model, ModelAttributes, ModelOptions, ModelStatic, Sequelize } from "sequelize";
import type { Database } from "../lib/database.ts";
import { DatabaseErrorsMixin } from "./database-errors.mixin.ts";

/** What the mixin gives to `this` of a service. */
export interface DatabaseMixinThis<Entity> {
  model: ModelStatic<Model>;
  /** Turns rows into entities, in the shape that callers see. */
  transformDocuments(ctx: Context, params: object, rows: object): Promise<Entity & Entity[]>;
}

interface DatabaseMixinOptions<Row, Entity> {
  database: Database;
  model: { name: string; define: ModelAttributes; options: ModelOptions };
  toEntity: (row: Row) => Entity;
}

/**
 * Gives a service its Sequelize model on the connections of the node, with moleculer-db and its Sequelize adapter.
 * None of moleculer-db's actions comes with it: they take raw queries and have no limits. Errors of a database that
 * is away leave the service's actions as DATABASE_UNAVAILABLE.
 */
export function DatabaseMixin<Row, Entity>(
  options: DatabaseMixinOptions<Row, Entity>,
): Partial<ServiceSchema> {
  const { actions: _actions, ...lifecycle } = DbService as unknown as ServiceSchema;
  return {
    // The types of moleculer-db are of an older Moleculer; this is the one cast.
    mixins: [lifecycle as Partial<ServiceSchema>, DatabaseErrorsMixin],
    adapter: createAdapter(options),
    model: options.model,
  } as Partial<ServiceSchema>;
}

/** The adapter's members that its own types do not have. */
interface Adapter {
  service: Service & Record<string, unknown>;
  db: Sequelize;
  model: ModelStatic<Model>;
  connect(): Promise<void>;
  disconnect(): Promise<void>;
  entityToObject(row: unknown): unknown;
}

/**
 * The adapter, on the node's one connection pool. Moleculer clones schemas deeply, so the pool is only held by
 * closures: a cloned Sequelize instance would be a second pool.
 */
function createAdapter<Row, Entity>({
  database,
  model,
  toEntity,
}: DatabaseMixinOptions<Row, Entity>): Adapter {
  const { name, define, options } = model;
  const adapter = new (SequelizeDbAdapter as unknown as new () => Adapter)();
  adapter.connect = async function connect(this: Adapter) {
    // No look at the server: the node has waited for it, and moleculer-db would repeat it for ever, also on a node that
    // has given up starting.
    this.db = database.primary;
    this.model = this.db.isDefined(name) ? this.db.model(name) : this.db.define(name, define, options);
    this.service["model"] = this.model;
  };
  // The pool outlives the service: other services of the node use it until the node has stopped.
  adapter.disconnect = async () => undefined;
  adapter.entityToObject = (row) => toEntity(row as Row);
  return adapter;
}
