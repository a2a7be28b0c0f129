// A load's request, and the parts of the device that it works on.

import type { Image, ModuleImage } from '../images/image.ts';
import type { RandomAccessMemory } from '../memory/random-access-memory.ts';
import type { Processor } from '../processor.ts';
import type { Recovery } from '../programs/program.ts';
import type { Thread } from '../threads/thread.ts';
import type { Drain } from './drain.ts';
import type { Invalidation, LinkPolicy, SimilarityPolicy, Strategy, VersionPolicy } from './load-report.ts';
import type { LoadedImage } from './loaded-image.ts';
import type { ModuleTable } from './module-table.ts';
import type { RetiredImages } from './retired-images.ts';

/** The parts of a device that a load works on. */
export type LoadTarget = {
  readonly processor: Processor;
  readonly memory: RandomAccessMemory;
  readonly moduleTable: ModuleTable;
  /** Returns every thread of the device, with its program. */
  threads(): Iterable<DeviceThread>;
  /** Adds an image that is now in memory. */
  addImage(image: LoadedImage): void;
  /** Returns the programs that hold the address of a record's image hard-coded. */
  programsHolding(record: number): string[];
  /** Images that the module table no longer names. */
  readonly retired: RetiredImages;
  /** Sets the drain of the load; null once the drain has ended. */
  setDrain(drain: Drain | null): void;
};

export type DeviceThread = {
  readonly thread: Thread;
  readonly program: string;
  /** What handles an injected error: the targeted access (`module`), or the program, which retries the whole call (`percolate`). */
  readonly recovery: Recovery;
  /** Called before an access of the thread is interrupted. */
  readonly onInterrupt: () => void;
};

/** The arriving version of a module. */
export type ArrivingImage<Kind extends Image = ModuleImage> = {
  readonly image: Kind;
  /** Identifiers of the keys whose signatures of the build the caller has verified. */
  readonly signedBy: readonly string[];
};

/** What a load does with one module: loads a version, or unloads the version in memory. */
export type MemberRequest<Kind extends Image = ModuleImage> = ArrivingImage<Kind> | { readonly unload: string };

/** Returns the name of the module that a member is about. */
export function moduleOf(member: MemberRequest<Image>): string {
  return 'unload' in member ? member.unload : member.image.stamp.module;
}

export type LoadKind = 'build' | 'patch-set' | 'unload';

export type LoadRequest<Kind extends Image = ModuleImage> = {
  /** `build` and `unload` have one member. */
  readonly kind: LoadKind;
  /** Each module at most once. */
  readonly members: readonly MemberRequest<Kind>[];
  readonly strategy: Strategy;
  /** How long `drain` and `drain-then-inject` wait for the accesses inside to exit, in milliseconds. */
  readonly drainMilliseconds: number;
  readonly invalidation: Invalidation;
  readonly versionPolicy: VersionPolicy | 'any';
  /** Reason for a downgrade; null for other policies. */
  readonly downgradeReason: string | null;
  /** Whether the new version must be substantially similar to the one in memory (claim 11). */
  readonly similarityPolicy: SimilarityPolicy;
  /** Whether every import must be provided after the load, and no module in memory may lose one. */
  readonly linkPolicy: LinkPolicy;
  /** Why a module is unloaded although others import it; null if it then stays. */
  readonly forceReason: string | null;
};

/** One module of a load that has begun. A member without arriving version is unloaded. */
export type Member = {
  readonly module: string;
  readonly arriving: ArrivingImage | null;
  /** The version in memory before the load. */
  readonly previous: LoadedImage | null;
};

/** A member whose module table entry was swapped. */
export type SwappedMember = Member & { readonly current: LoadedImage | null };
