// Reasons in reports: short, and texts that every database keeps.

/** Characters of a reason; the control service takes no longer ones. */
const reasonLimit = 1_000;

/** The message as a report can carry it: cut at the limit, with U+FFFD for the character U+0000 and for halves of surrogate pairs. */
export function sanitizeReason(message: string): string {
  return message.slice(0, reasonLimit).replaceAll('\0', '\ufffd').toWellFormed();
}
