// Wall-clock times that other machines report. Their clocks are sometimes wrong: such a time is displayed, and decides nothing.

/** A reported time in RFC 3339, bounded by when the service received it. */
export function clampReportedTime(receivedAt: Date, reported: string): Date {
  const time = new Date(reported);
  return time < receivedAt ? time : receivedAt;
}
