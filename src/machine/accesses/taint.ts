// Taint: an access that ended abnormally inside an image with state may have left that state half changed.

/** How an access ended: by a trap or an error of a kernel function, by its deadline, with its program, or by an injected error. */
export type TaintReason = 'trap' | 'deadline' | 'stop' | 'interruption';

/** The image's state may be inconsistent. */
export type Taint = {
  /** How the first of the accesses ended. */
  readonly reason: TaintReason;
  /** When the first of them ended; RFC 3339, UTC. */
  readonly at: string;
  /** Accesses that have ended abnormally inside. */
  readonly accesses: number;
};

/** Returns the taint after one more access has ended abnormally. */
export function addTaint(taint: Taint | null, reason: TaintReason): Taint {
  if (taint === null) return { reason, at: new Date().toISOString(), accesses: 1 };
  return { ...taint, accesses: taint.accesses + 1 };
}
