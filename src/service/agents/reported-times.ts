// Wall-clock times that other machines report. Their clocks can be wrong: the service displays these times and makes no decision by them.

/** Returns the earlier of the reported time (RFC 3339) and the time of receipt. */
export function clampReportedTime(receivedAt: Date, reported: string): Date {
  const time = new Date(reported);
  return time < receivedAt ? time : receivedAt;
}
