// Caches images by digest: each is downloaded and compiled once for all devices of the host.

import { LRUCache } from 'lru-cache';
import { compileImage, type Image } from '../machine/index.ts';

export type CacheLimits = { readonly images: number; readonly bytes: number };

/** Limits of the cache. Evicts the least recently used images; devices keep their loaded images. */
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
      // A download continues if its entry is evicted.
      ignoreFetchAbort: true,
    });
  }

  /** The number of cached images, including downloads in progress. */
  get size(): number {
    return this.#images.size;
  }

  /**
   * Returns the image; requests for one digest share one download.
   * @throws {ImageError} if the bytes do not have this digest or are not a valid image; or what the download throws.
   */
  get(digest: string): Promise<Image> {
    return this.#images.forceFetch(digest);
  }
}
