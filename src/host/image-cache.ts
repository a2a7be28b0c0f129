// Images by digest: each is downloaded and compiled once for all devices of the host.

import { LRUCache } from 'lru-cache';
import { compileImage, type Image } from '../machine/index.ts';

export type CacheLimits = { readonly images: number; readonly bytes: number };

/** Limits of the cache; the least recently used images go first, and a device keeps what it has loaded. */
const defaultLimits: CacheLimits = { images: 256, bytes: 256 * 1024 * 1024 };

export class ImageCache {
  readonly #images: LRUCache<string, Image>;

  constructor(download: (digest: string) => Promise<Uint8Array<ArrayBuffer>>, limits: Partial<CacheLimits> = {}) {
    const { images, bytes } = { ...defaultLimits, ...limits };
    this.#images = new LRUCache({
      max: images,
      maxSize: bytes,
      sizeCalculation: (image) => image.bytes,
      fetchMethod: async (digest) => compileImage(await download(digest), digest),
      // A download continues if others push it out of the cache.
      ignoreFetchAbort: true,
    });
  }

  /** Images held, including those that are being downloaded. */
  get size(): number {
    return this.#images.size;
  }

  /**
   * Returns the image; requests for one digest share one download.
   * @throws {ImageError} when the bytes are not the image ordered, or what the download throws.
   */
  get(digest: string): Promise<Image> {
    return this.#images.forceFetch(digest);
  }
}
