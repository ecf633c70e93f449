import type { Context, Service, ServiceSchema } from "moleculer";
import type { Node } from "../../bootstrap/node.ts";
import type { AppServiceSchema } from "../../broker/service-schema.ts";
import { callAsNode, type ActionParams, type ActionResult } from "../../lib/contracts.ts";
import type { PrincipalMeta } from "../../lib/principal.ts";
import { createSweep } from "../../lib/sweep.ts";
import { inTime } from "../../lib/waiting.ts";
import { DatabaseErrorsMixin } from "../../mixins/database-errors.mixin.ts";
import { HealthMixin } from "../../mixins/health.mixin.ts";
import { createListPages } from "../../mixins/list-pages.ts";
import { UnitOfWorkMixin, type UnitOfWorkMethods } from "../../mixins/unit-of-work.mixin.ts";
import { Creation } from "./creation.ts";
import { CreationMixin, type CreatingMethods } from "./creation.mixin.ts";
import { avatarChanged, deleteImage } from "./deletion.ts";
import { createImageProcessor } from "./create-image-processor.ts";
import * as contract from "./images.contract.ts";
import { requireImage, type ImageRecord } from "./images.domain.ts";
import { avatarNotPublic, imageNotFound } from "./images.errors.ts";
import { watchImages } from "./images.metrics.ts";
import { ImagesRepository } from "./images.repository.ts";
import { createImageView } from "./images.view.ts";
import { ownerConsumer } from "./owner-consumer.ts";
import { reconcile } from "./reconcile.ts";
import { RemovalsRepository } from "./removals.repository.ts";
import { Remover } from "./remover.ts";
import { Rendering } from "./rendering.ts";
import { sweepImages } from "./sweep-images.ts";
import { UploadsRepository } from "./uploads.repository.ts";
import { Workshop } from "./workshop.ts";

/*
 * Owns images: their rows, the schema `images`, and their bytes in the storage. A row and its bytes are there together or
 * not at all; what an interruption leaves is removed by itself. Images go with their user.
 */

/** What a user shows is at most so many of its newest images. */
const SHOWN_IMAGES = 100;

/** How long the answer to a deletion waits until the bytes are gone, too. */
const REMOVAL_WAIT_MS = 1000;

interface Variables {
  sweep: ReturnType<typeof createSweep>;
}

type Methods = UnitOfWorkMethods & CreatingMethods;
type ImagesService = Service<object> & Methods & Variables;
type Call<Name extends keyof contract.ImagesActions> = Context<ActionParams<Name>, PrincipalMeta>;

export function createImagesService(node: Node): AppServiceSchema<object, Methods, Variables> {
  const { database, storage, config, log, secret } = node;
  const images = new ImagesRepository(database);
  const uploads = new UploadsRepository(database);
  const removals = new RemovalsRepository(database);
  const remover = new Remover({ storage, removals, log });
  const processor = createImageProcessor({
    presets: config.IMAGE_PRESETS,
    formats: config.IMAGE_FORMATS,
    workers: config.IMAGE_WORKERS,
    queueMax: config.IMAGE_QUEUE_MAX,
    timeoutMs: config.IMAGE_TIMEOUT_MS,
    log,
  });
  const workshop = new Workshop({ storage, processor, limit: config.IMAGE_WORKERS + config.IMAGE_QUEUE_MAX });
  const creation = new Creation({ storage, images, removals, remover });
  const rendering = new Rendering({ config, database, storage, images, workshop });
  const view = createImageView(config, secret);
  const pages = createListPages(secret);

  return {
    name: "images",
    mixins: [
      DatabaseErrorsMixin,
      UnitOfWorkMixin({
        database,
        idempotencyTtlHours: config.IDEMPOTENCY_TTL_HOURS,
        secret,
        cachedReads: () => [],
      }),
      HealthMixin(node.monitors),
      CreationMixin({ node, images, uploads, creation, workshop, view }) as Partial<ServiceSchema>,
      ownerConsumer(node, { images, uploads, remover }),
    ],

    actions: {
      get: {
        visibility: "published",
        params: contract.imageParams,
        async handler(ctx: Call<"images.get">): Promise<contract.Image> {
          const { id } = ctx.params;
          const record = await images.find(id);
          requireImage(record, id, ctx.meta.principal);
          return view.toImage(record);
        },
      },

      list: {
        visibility: "published",
        params: contract.listImagesParams,
        async handler(ctx: Context<contract.ListImages, { $cache?: boolean }>): Promise<contract.ImagePage> {
          const { id, limit, cursor } = ctx.params;
          const userId = id.toLowerCase();
          const scope = { list: "images", userId };
          const query = { userId, after: pages.startOf(cursor, scope), limit: limit + 1 };
          const fresh = ctx.meta.$cache === false;
          const records = await images.list(query, { fresh });
          // Whoever has no images may not be there at all.
          if (records.length === 0 && cursor === undefined) {
            await callAsNode(ctx, "users.get", { id: userId }, { meta: { $cache: !fresh } });
          }
          const { page, nextCursor } = pages.pageOf(records, {
            limit,
            scope,
            positionOf: (last) => [last.createdAt, last.id],
          });
          return { data: page.map((record) => view.toImage(record)), nextCursor };
        },
      },

      delete: {
        visibility: "published",
        params: contract.imageParams,
        idempotent: true,
        async handler(ctx: Call<"images.delete">): Promise<null> {
          const { id } = ctx.params;
          await this.unitOfWork(ctx, async (work) => {
            const record = await images.lock(id, work.transaction);
            requireImage(record, id, ctx.meta.principal);
            const events = await deleteImage(images, record, work.transaction);
            for (const { event, subject } of events) work.record(event, subject);
            return { subject: record.id, result: null };
          });
          // Whoever waits need not wait for a storage that is away: then it is done later.
          await inTime(remover.remove(id), REMOVAL_WAIT_MS);
          return null;
        },
      },

      setAvatar: {
        visibility: "published",
        params: contract.setAvatarParams,
        idempotent: true,
        async handler(ctx: Call<"images.setAvatar">): Promise<contract.Image> {
          const { id, imageId } = ctx.params;
          const userId = id.toLowerCase();
          const image: ImageRecord = await this.unitOfWork(ctx, async (work) => {
            const found = await images.share(imageId, work.transaction);
            if (found?.userId !== userId) throw imageNotFound(imageId);
            if (found.visibility !== "public") throw avatarNotPublic();
            const isChanged = await images.setAvatar(userId, found.id, work.transaction);
            if (isChanged) work.record(avatarChanged(userId, found.id), userId);
            return { subject: found.id, result: found };
          });
          return view.toImage(image);
        },
      },

      clearAvatar: {
        visibility: "published",
        params: contract.userImagesParams,
        idempotent: true,
        handler(ctx: Call<"images.clearAvatar">): Promise<null> {
          const userId = ctx.params.id.toLowerCase();
          return this.unitOfWork(ctx, async (work) => {
            if (await images.clearAvatar(userId, work.transaction)) work.record(avatarChanged(userId, null));
            return { subject: userId, result: null };
          });
        },
      },

      ofUser: {
        visibility: "public",
        params: contract.userImagesParams,
        async handler(ctx: Call<"images.ofUser">): Promise<contract.UserImages> {
          return view.toUserImages(await images.findShown(ctx.params.id, SHOWN_IMAGES));
        },
      },

      render: {
        visibility: "public",
        params: contract.renderParams,
        timeout: rendering.timeoutMs,
        async handler(ctx: Call<"images.render">): Promise<null> {
          await rendering.render(ctx.params);
          return null;
        },
      },

      reconcile: {
        visibility: "public",
        params: contract.reconcileParams,
        // It reads all rows and lists all objects.
        timeout: 0,
        handler(ctx: Call<"images.reconcile">): Promise<ActionResult<"images.reconcile">> {
          return reconcile({ database, storage, config }, ctx.params);
        },
      },
    },

    created(this: ImagesService) {
      const parts = { storage, images, uploads, config };
      this.sweep = createSweep(() => sweepImages(parts));
      if (node.metrics) watchImages(node.metrics.registry, { processor, removals });
    },

    async started() {
      await workshop.open();
      remover.start();
      this.sweep.start();
    },

    async stopped() {
      this.sweep.stop();
      await Promise.all([remover.stop(), processor.stop()]);
      await workshop.close();
    },
  };
}
