// What a load works on, and how it is asked for.

import type { Image, ModuleImage } from '../images/image.ts';
import type { RandomAccessMemory } from '../memory/random-access-memory.ts';
import type { Processor } from '../processor.ts';
import type { Recovery } from '../programs/program.ts';
import type { Thread } from '../threads/thread.ts';
import type { Invalidation, SimilarityPolicy, Strategy, VersionPolicy } from './load-report.ts';
import type { LoadedImage } from './loaded-image.ts';
import type { ModuleTable } from './module-table.ts';
import type { RetiredImages } from './retired-images.ts';

/** The parts of a device that a load works on. */
export type LoadTarget = {
  readonly processor: Processor;
  readonly memory: RandomAccessMemory;
  readonly moduleTable: ModuleTable;
  /** Every thread of the device, with its program. */
  threads(): Iterable<DeviceThread>;
  /** An image is in memory. */
  addImage(image: LoadedImage): void;
  /** Programs that keep the address of a record's image, hard-coded. */
  programsHolding(record: number): string[];
  /** Images that the module table no longer names. */
  readonly retired: RetiredImages;
};

export type DeviceThread = {
  readonly thread: Thread;
  readonly program: string;
  /** Where an injected error is taken: by the access itself, or by the program, which retries the whole call. */
  readonly recovery: Recovery;
  /** An access of the thread is about to be interrupted. */
  readonly onInterrupt: () => void;
};

export type LoadRequest<Kind extends Image = ModuleImage> = {
  readonly image: Kind;
  /** Identifiers of the keys whose signatures of the build the caller has verified. */
  readonly signedBy: readonly string[];
  readonly strategy: Strategy;
  /** How long `drain` and `drain-then-inject` wait for the accesses inside to leave by themselves, in milliseconds. */
  readonly drainMilliseconds: number;
  readonly invalidation: Invalidation;
  readonly versionPolicy: VersionPolicy | 'any';
  /** Why, where the policy is `downgrade`. */
  readonly downgradeReason: string | null;
  /** Whether the new version must be substantially similar to the one in memory (claim 11). */
  readonly similarityPolicy: SimilarityPolicy;
};
