// The report of a load: the operations of patent FIG. 2 that it performed, each with its time and facts.

import type { Taint } from '../accesses/taint.ts';
import type { Similarity } from './similarity.ts';

export type Outcome =
  | 'installed'
  | 'replaced'
  | 'replaced-interrupting'
  | 'unloaded'
  | 'unloaded-interrupting'
  | 'refused-not-loaded'
  | 'refused-imported'
  | 'refused-not-newer'
  | 'refused-dissimilar'
  | 'refused-unresolved'
  | 'refused-image'
  | 'failed'
  | 'cancelled';

export type Strategy = 'inject' | 'drain' | 'drain-then-inject';
export type Invalidation = 'none' | 'mark-invalid' | 'nx' | 'delete';
export type VersionPolicy = 'newer' | 'different' | 'downgrade';
export type SimilarityPolicy = 'require' | 'warn' | 'off';
export type LinkPolicy = 'require' | 'warn' | 'off';

/** A link from one module to another. */
export type Link = {
  /** The module that imports the export, or that declares the dependency. */
  readonly importer: { readonly module: string; readonly version: string };
  /** The module that must provide it. Its version is null if the module is neither in memory nor part of the load. */
  readonly provider: { readonly module: string; readonly version: string | null };
};

/**
 * An import that nothing provides, or a declared dependency whose version is missing or out of range. Types are texts such as `(i32) → i32`, truncated
 * after 120 characters.
 */
export type UnresolvedLink =
  | (Link & { readonly problem: 'missing'; readonly export: string; readonly expected: string })
  | (Link & { readonly problem: 'wrong-type'; readonly export: string; readonly expected: string; readonly provided: string })
  | (Link & { readonly problem: 'out-of-range'; readonly range: string });

/** Facts of each step. Addresses are formatted byte addresses. */
export type StepFacts = {
  /** `signedBy`: identifiers of the keys whose signatures of the build were verified. */
  received: { module: string; version: string; image: string; bytes: number; signedBy: string[] };
  'looked-up': { address: string | null; version: string | null };
  compared: {
    version: string;
    inMemoryVersion: string;
    precedence: 'newer' | 'same' | 'older';
    versionPolicy: VersionPolicy;
    /** Why an operator loads an older version; null for other loads. */
    downgradeReason: string | null;
    similarity: Similarity;
    similarityPolicy: SimilarityPolicy;
  };
  /** `unresolved`: the first 100 unresolved links; `unresolvedLinks`: their total number. Not recorded with the link policy `off`. */
  linked: {
    linkPolicy: Exclude<LinkPolicy, 'off'>;
    unresolved: UnresolvedLink[];
    unresolvedLinks: number;
    /** Why an operator unloads a module that others import; absent if no one does. */
    forceReason?: string;
  };
  refused: { reason: string };
  loaded: {
    address: string;
    pages: number;
    selfCheck: 'passed' | 'none';
    /** The hook of the old version. */
    beforeUnload: 'completed' | 'none';
    stateWords: number | null;
    /** Old images whose pages were reclaimed for the new one; the first 100 of them. */
    reclaimed: { module: string; version: string; address: string; pages: number }[];
    /** Total number of reclaimed images. */
    reclaimedImages: number;
  };
  /** `afterLoad`: the hook of the new version. If it fails, the new version stays in the table, and `afterLoadFailure` says why. */
  'table-updated': {
    from: string | null;
    /** Null: the module was unloaded. */
    to: string | null;
    /** The hook of the old version; absent if the module was loaded, because the step `loaded` has it. */
    beforeUnload?: 'completed' | 'none';
    afterLoad: 'completed' | 'failed' | 'none';
    afterLoadFailure: string | null;
  };
  'checked-references': { referenceCount: number };
  interrupted: { accesses: number; threads: number; programs: { program: string; threads: number }[] };
  'references-reset': { referenceCount: 0; retried: number; failed: number };
  /** `heldBy`: programs that hold the address hard-coded. Their next access faults, unless the invalidation is `none`. */
  invalidated: { invalidation: Invalidation; address: string; pages: number; heldBy: string[] };
  failed: { during: string; reason: string };
  /** The load was cancelled while it waited: the old version is in the table again. */
  cancelled: { during: 'checked-references'; reason: string };
  completed: { outcome: Outcome; microseconds: number };
};
export type StepName = keyof StepFacts;

/** The operation of FIG. 2 that each step performs; null if the figure has none. */
const operations = {
  received: 200,
  'looked-up': 210,
  compared: 220,
  linked: 220,
  refused: null,
  loaded: 230,
  'table-updated': 240,
  'checked-references': 250,
  interrupted: 260,
  'references-reset': 270,
  invalidated: 275,
  failed: null,
  cancelled: null,
  completed: 280,
} as const satisfies Record<StepName, number | null>;

type StepOf<Name extends StepName> = {
  readonly step: Name;
  readonly operation: (typeof operations)[Name];
  /** RFC 3339, UTC. */
  readonly at: string;
  /** Start of the step, in microseconds since the load began. */
  readonly startedMicroseconds: number;
  readonly microseconds: number;
  /** The member of the patch set that the step is about; absent for other loads, and for steps about all members. */
  readonly module?: string;
  readonly facts: StepFacts[Name];
};
export type Step = { [Name in StepName]: StepOf<Name> }[StepName];

/** An image in a report. */
export type ReportedImage = {
  readonly version: string;
  readonly image: string;
  readonly address: string;
  readonly pages: number;
  /** Abnormal exits of accesses inside the image; null if there were none, or if the image has no state. */
  readonly tainted: Taint | null;
};

/** The versions of a module before and after a load. */
export type VersionChange = {
  /** The version in memory before the load. */
  readonly previous: ReportedImage | null;
  /** The version in the module table after the load. */
  readonly current: ReportedImage | null;
};

/** `previous` and `current` are null for a patch set, which has `members` instead. */
export type LoadReport = VersionChange & {
  readonly outcome: Outcome;
  /** Why the load was refused or failed; null otherwise. */
  readonly reason: string | null;
  /** The members of a patch set, in its order; absent for other loads. */
  readonly members?: (VersionChange & { readonly module: string })[];
  /** Accesses inside the old version that had an error injected. */
  readonly interrupted: number;
  /** Interrupted accesses that retried through the module table. */
  readonly retried: number;
  /** Interrupted accesses that ended without a retry. */
  readonly failed: number;
  readonly microseconds: number;
  readonly steps: Step[];
};

/** Records the steps of one load. Each step starts when the previous one ends. */
export class StepRecorder {
  readonly #steps: Step[] = [];
  readonly #clock: () => number;
  readonly #began: number;
  #started: number;

  /** @param clock Returns milliseconds since an arbitrary moment. */
  constructor(clock: () => number) {
    this.#clock = clock;
    this.#began = clock();
    this.#started = this.#began;
  }

  /** The recorded steps, in order. */
  get steps(): Step[] {
    return this.#steps;
  }

  /** Microseconds since the load began. */
  get elapsed(): number {
    return this.#microsecondsSince(this.#began);
  }

  /**
   * Records a step that has just ended.
   * @param module The member of the patch set that the step is about; null for other loads, and for steps about all members.
   */
  record<Name extends StepName>(step: Name, facts: StepFacts[Name], module: string | null = null): void {
    const startedMicroseconds = roundToTenth((this.#started - this.#began) * 1_000);
    const microseconds = this.#microsecondsSince(this.#started);
    this.#started = this.#clock();
    const at = new Date().toISOString();
    const member = module === null ? {} : { module };
    const recorded: StepOf<Name> = { step, operation: operations[step], at, startedMicroseconds, microseconds, ...member, facts };
    const steps: StepOf<StepName>[] = this.#steps;
    steps.push(recorded);
  }

  #microsecondsSince(moment: number): number {
    return roundToTenth((this.#clock() - moment) * 1_000);
  }
}

/** Rounds to a tenth of a microsecond, the resolution of the clock. */
function roundToTenth(microseconds: number): number {
  return Math.round(microseconds * 10) / 10;
}
