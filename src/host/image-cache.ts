// Images by digest: each is downloaded and compiled once for all devices of the host.

import { compileImage, type Image } from '../machine/index.ts';

export type CacheLimits = { readonly images: number; readonly bytes: number };

/** What is kept; the least recently used images go first, and a device keeps what it has loaded. */
const defaultLimits: CacheLimits = { images: 256, bytes: 256 * 1024 * 1024 };

export class ImageCache {
  readonly #download: (digest: string) => Promise<Uint8Array<ArrayBuffer>>;
  readonly #limits: CacheLimits;
  readonly #images = new Map<string, Promise<Image>>();
  /** Bytes of the images that have been read, the least recently used first. */
  readonly #sizes = new Map<string, number>();
  #bytes = 0;

  constructor(download: (digest: string) => Promise<Uint8Array<ArrayBuffer>>, limits: Partial<CacheLimits> = {}) {
    this.#download = download;
    this.#limits = { ...defaultLimits, ...limits };
  }

  /** Images held, including those that are being downloaded. */
  get size(): number {
    return this.#images.size;
  }

  /**
   * The image; requests for one digest share one download.
   * @throws {ImageError} when the bytes are not the image ordered, or what the download throws.
   */
  get(digest: string): Promise<Image> {
    const known = this.#images.get(digest);
    if (known !== undefined) {
      this.#use(digest);
      return known;
    }
    const image = this.#read(digest);
    this.#images.set(digest, image);
    image.catch(() => this.#forget(digest));
    return image;
  }

  async #read(digest: string): Promise<Image> {
    const bytes = await this.#download(digest);
    const image = await compileImage(bytes, digest);
    this.#sizes.set(digest, bytes.length);
    this.#bytes += bytes.length;
    for (const oldest of this.#sizes.keys()) {
      if ((this.#bytes <= this.#limits.bytes && this.#sizes.size <= this.#limits.images) || oldest === digest) break;
      this.#forget(oldest);
    }
    return image;
  }

  /** Now the most recently used. */
  #use(digest: string): void {
    const size = this.#sizes.get(digest);
    if (size === undefined) return;
    this.#sizes.delete(digest);
    this.#sizes.set(digest, size);
  }

  #forget(digest: string): void {
    this.#images.delete(digest);
    this.#bytes -= this.#sizes.get(digest) ?? 0;
    this.#sizes.delete(digest);
  }
}
