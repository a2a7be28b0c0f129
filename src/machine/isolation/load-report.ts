// What a load reports of itself: the operations of patent FIG. 2 that it went through, each with its time and facts.

import type { Taint } from '../accesses/taint.ts';
import type { Similarity } from './similarity.ts';

export type Outcome =
  | 'installed'
  | 'replaced'
  | 'replaced-interrupting'
  | 'refused-not-newer'
  | 'refused-dissimilar'
  | 'refused-image'
  | 'failed';

export type Strategy = 'inject' | 'drain' | 'drain-then-inject';
export type Invalidation = 'none' | 'mark-invalid' | 'nx' | 'delete';
export type VersionPolicy = 'newer' | 'different' | 'downgrade';
export type SimilarityPolicy = 'require' | 'warn' | 'off';

/** The facts of each step. Addresses are printed byte addresses. */
export type StepFacts = {
  /** `signedBy`: identifiers of the keys whose signatures of the build were verified. */
  received: { module: string; version: string; image: string; bytes: number; signedBy: string[] };
  'looked-up': { address: string | null; version: string | null };
  compared: {
    version: string;
    inMemoryVersion: string;
    precedence: 'newer' | 'same' | 'older';
    versionPolicy: VersionPolicy;
    /** Why an operator loads an older version; null where they do not. */
    downgradeReason: string | null;
    similarity: Similarity;
    similarityPolicy: SimilarityPolicy;
  };
  refused: { reason: string };
  loaded: {
    address: string;
    pages: number;
    selfCheck: 'passed' | 'none';
    stateWords: number | null;
    /** Old images whose pages were needed, which no program held: the first 100 of them. */
    reclaimed: { module: string; version: string; address: string; pages: number }[];
    /** How many there were. */
    reclaimedImages: number;
  };
  'table-updated': { from: string | null; to: string };
  'checked-references': { referenceCount: number };
  interrupted: { accesses: number; threads: number; programs: { program: string; threads: number }[] };
  'references-reset': { referenceCount: 0; retried: number; failed: number };
  /** `heldBy`: programs that keep the address hard-coded, and fault with their next access unless the pages stay as they are. */
  invalidated: { invalidation: Invalidation; address: string; pages: number; heldBy: string[] };
  failed: { during: string; reason: string };
  completed: { outcome: Outcome; microseconds: number };
};
export type StepName = keyof StepFacts;

/** The operation of FIG. 2 that each step is; null where the figure has none. */
const operations = {
  received: 200,
  'looked-up': 210,
  compared: 220,
  refused: null,
  loaded: 230,
  'table-updated': 240,
  'checked-references': 250,
  interrupted: 260,
  'references-reset': 270,
  invalidated: 275,
  failed: null,
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
  readonly facts: StepFacts[Name];
};
type Steps = { [Name in StepName]: StepOf<Name> };
export type Step = Steps[StepName];

/** An image as a report names it. */
export type ReportedImage = {
  readonly version: string;
  readonly image: string;
  readonly address: string;
  readonly pages: number;
  /** Abnormal ends of accesses inside the image, which has state; null where there were none. */
  readonly tainted: Taint | null;
};

export type LoadReport = {
  readonly outcome: Outcome;
  /** Why the load was refused or failed; null where it was not. */
  readonly reason: string | null;
  /** The in-memory module that the load met. */
  readonly previous: ReportedImage | null;
  /** What the module table names after the load. */
  readonly current: ReportedImage | null;
  /** Accesses inside the old version that had an error injected. */
  readonly interrupted: number;
  /** Of those, how many retried through the module table. */
  readonly retried: number;
  /** Of those, how many ended without a retry. */
  readonly failed: number;
  readonly microseconds: number;
  readonly steps: Step[];
};

/** Writes the steps of one load down as they happen, each from the end of the one before. */
export class StepRecorder {
  /** Each step is taken once at most. */
  readonly #taken: Partial<Steps> = {};
  readonly #clock: () => number;
  readonly #began: number;
  #started: number;

  /** @param clock Milliseconds since any moment. */
  constructor(clock: () => number) {
    this.#clock = clock;
    this.#began = clock();
    this.#started = this.#began;
  }

  /** The steps taken, in their order. */
  get steps(): Step[] {
    return Object.values(this.#taken);
  }

  /** Microseconds since the load began. */
  get elapsed(): number {
    return this.#microsecondsSince(this.#began);
  }

  /** The step that has just been taken. */
  record<Name extends StepName>(step: Name, facts: StepFacts[Name]): void {
    const startedMicroseconds = rounded((this.#started - this.#began) * 1_000);
    const microseconds = this.#microsecondsSince(this.#started);
    this.#started = this.#clock();
    const at = new Date().toISOString();
    const taken: StepOf<Name> = { step, operation: operations[step], at, startedMicroseconds, microseconds, facts };
    Object.assign(this.#taken, { [step]: taken });
  }

  #microsecondsSince(moment: number): number {
    return rounded((this.#clock() - moment) * 1_000);
  }
}

/** Steps are microseconds to a tenth: the clock is not finer. */
function rounded(microseconds: number): number {
  return Math.round(microseconds * 10) / 10;
}
