// Taint: an access that exits abnormally inside an image with state may leave that state inconsistent.

/** How the access ended: by a trap or an error of a kernel function, by its deadline, by a stop of its program, or by an injected error. */
export type TaintReason = 'trap' | 'deadline' | 'stop' | 'interruption';

/** Marks an image whose state may be inconsistent. */
export type Taint = {
  /** How the first such access ended. */
  readonly reason: TaintReason;
  /** When the first such access ended; RFC 3339, UTC. */
  readonly at: string;
  /** Number of accesses that exited abnormally. */
  readonly accesses: number;
};

/** Returns the taint after another access exited abnormally. */
export function addTaint(taint: Taint | null, reason: TaintReason): Taint {
  if (taint === null) return { reason, at: new Date().toISOString(), accesses: 1 };
  return { ...taint, accesses: taint.accesses + 1 };
}
