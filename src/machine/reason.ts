// Reasons in reports: limited in length, and valid in every database.

/** Maximum characters of a reason; the control service rejects longer ones. */
const reasonLimit = 1_000;

/** Returns the message as a report can carry it: truncated at the limit, with U+FFFD for U+0000 and for unpaired surrogates. */
export function sanitizeReason(message: string): string {
  return message.slice(0, reasonLimit).replaceAll('\0', '\ufffd').toWellFormed();
}
