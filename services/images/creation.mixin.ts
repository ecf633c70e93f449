import type { Context, Service } from "moleculer";
import type { Node } from "../../bootstrap/node.ts";
import type { AppServiceSchema } from "../../broker/service-schema.ts";
import type { Config } from "../../lib/config.ts";
import { callAsNode, type ActionParams } from "../../lib/contracts.ts";
import type { DatabaseTransaction } from "../../lib/database-connection.ts";
import { newId } from "../../lib/ids.ts";
import { directUploadPath, uploadKey, type Visibility } from "../../lib/media-path.ts";
import type { PrincipalMeta } from "../../lib/principal.ts";
import { createUrlSigner } from "../../lib/signed-url.ts";
import { Slots } from "../../lib/slots.ts";
import type { UnitOfWorkMethods } from "../../mixins/unit-of-work.mixin.ts";
import type { User } from "../users/users.contract.ts";
import { writersOf, type Creation } from "./creation.ts";
import * as contract from "./images.contract.ts";
import { newImage, type ImageRecord } from "./images.domain.ts";
import { uploadIncomplete, uploadNotFound } from "./images.errors.ts";
import type { ImagesRepository } from "./images.repository.ts";
import type { ImageView } from "./images.view.ts";
import type { ExpectedBytes } from "./stored-files.ts";
import type { UploadsRepository } from "./uploads.repository.ts";
import type { Workshop } from "./workshop.ts";

/** How long a client may take to send the bytes of a direct upload. */
const DIRECT_PUT_SECONDS = 600;

interface Upload extends ExpectedBytes {
  id: string;
  visibility: Visibility;
  /** What is written with the row. */
  beside?: (transaction: DatabaseTransaction) => Promise<void>;
}

type UploadContext = Context<{ id: string }, PrincipalMeta>;
type FindUpload = (userId: string) => Promise<Upload>;

export interface CreatingMethods {
  /**
   * Makes an image of an upload, unless the same request has done so before.
   *
   * @param identity what is the same whenever the request is repeated
   * @param find looks for the upload when it is needed
   */
  createImage(ctx: UploadContext, identity: unknown, find: FindUpload): Promise<contract.Image>;
}

type Host = Service<object> & CreatingMethods & UnitOfWorkMethods;

interface CreatingParts {
  node: Node;
  images: ImagesRepository;
  uploads: UploadsRepository;
  creation: Creation;
  workshop: Workshop;
  view: ImageView;
}

type Call<Name extends keyof contract.ImagesActions> = Context<ActionParams<Name>, PrincipalMeta>;

/** The actions that make images: of what a gateway has received, and of what clients have sent to the storage. */
export function CreationMixin({
  node,
  images,
  uploads,
  creation,
  workshop,
  view,
}: CreatingParts): Pick<
  AppServiceSchema<object, CreatingMethods & UnitOfWorkMethods, object>,
  "actions" | "methods"
> {
  const { config, storage } = node;
  const signer = createUrlSigner(node.secret);
  const writers = new Slots(writersOf(config));
  /** What is done once is not tried again blindly: the client does, with its key, when it still wants the image. */
  const slow = { timeout: creationTimeoutMs(config), retryPolicy: { enabled: false } };

  return {
    actions: {
      create: {
        visibility: "published",
        params: contract.createImageParams,
        idempotent: true,
        ...slow,
        handler(ctx: Call<"images.create">) {
          const { uploadId, ...upload } = ctx.params;
          return this.createImage(ctx, upload, async () => ({ ...upload, id: uploadId.toLowerCase() }));
        },
      },

      startUpload: {
        visibility: "published",
        params: contract.startUploadParams,
        idempotent: true,
        async handler(ctx: Call<"images.startUpload">): Promise<contract.DirectUpload> {
          const { contentType, bytes, visibility } = ctx.params;
          const owner = await findOwner(ctx);
          const { uploadId, expires } = await this.unitOfWork(ctx, async (work) => {
            const id = newId();
            const upload = { id, userId: owner.id, userVersion: owner.version, visibility, bytes };
            work.transaction.enlist(uploads.start(upload, work.transaction));
            const until = Math.floor(work.now.getTime() / 1000) + DIRECT_PUT_SECONDS;
            return { subject: owner.id, result: { uploadId: id, expires: until } };
          });
          const limits = { bytes, contentType };
          const expiresInSeconds = Math.max(1, expires - Math.floor(Date.now() / 1000));
          const direct = await storage.directPut(uploadKey(uploadId), { ...limits, expiresInSeconds });
          const path = directUploadPath(uploadId);
          return {
            uploadId,
            method: "PUT",
            url: direct?.url ?? signer.sign({ method: "PUT", path, ...limits }, expires),
            headers: direct?.headers ?? { "Content-Type": contentType },
            expiresAt: new Date(expires * 1000).toISOString(),
          };
        },
      },

      completeUpload: {
        visibility: "published",
        params: contract.completeUploadParams,
        idempotent: true,
        ...slow,
        async handler(ctx: Call<"images.completeUpload">) {
          const { uploadId } = ctx.params;
          const image = await this.createImage(ctx, ctx.params, async (userId) => {
            const upload = await uploads.find(uploadId, userId);
            if (!upload) throw uploadNotFound(uploadId);
            const object = await storage.head(uploadKey(upload.id));
            if (object?.bytes !== upload.bytes) throw uploadIncomplete(upload.bytes, object?.bytes ?? 0);
            const beside = async (transaction: DatabaseTransaction): Promise<void> => {
              if (!(await uploads.complete(upload.id, transaction))) throw uploadNotFound(uploadId);
            };
            return { ...upload, beside };
          });
          // What stays is swept.
          await storage.remove([uploadKey(uploadId.toLowerCase())]).catch(() => undefined);
          return image;
        },
      },
    },

    methods: {
      async createImage(this: Host, ctx: UploadContext, identity: unknown, find: FindUpload) {
        const make = async (): Promise<ImageRecord> => {
          const owner = await findOwner(ctx);
          const { id: uploadId, visibility, beside, ...expected } = await find(owner.id);
          await images.addOwner(owner.id);
          return workshop.finish(uploadId, expected, (finished) => {
            const draft = newImage({ id: newId(), owner, visibility, received: finished.received });
            return writers.run(() =>
              creation.create(draft, finished, (change) => this.unitOfWork(ctx, change, identity), beside),
            );
          });
        };
        return view.toImage(await this.unlessDone(ctx, make, identity));
      },
    },
  };
}

/** Past the cache: the version tells whether the user was deleted since, which must not be an older one. */
function findOwner(ctx: Context<{ id: string }>): Promise<User> {
  return callAsNode(ctx, "users.get", { id: ctx.params.id }, { meta: { $cache: false } });
}

/** A wait for a worker, two attempts at the work, and the storage before and after it. */
function creationTimeoutMs({ IMAGE_TIMEOUT_MS: work, STORAGE_TIMEOUT_MS: storage }: Config): number {
  return 3 * work + 4 * storage;
}
