// Lines of comma-separated values (RFC 4180).

/** A line of these values; what is null or undefined is empty. A text that a spreadsheet would take for a formula is quoted for it. */
export function csvLine(values: readonly (string | number | null | undefined)[]): string {
  return `${values.map((value) => (typeof value === 'string' ? quoted(value) : String(value ?? ''))).join(',')}\r\n`;
}

/** Spreadsheets calculate cells that begin so (OWASP, CSV injection). */
const formula = /^[=+\-@\t\r]/;

function quoted(text: string): string {
  const plain = formula.test(text) ? `'${text}` : text;
  return /[",\r\n]/.test(plain) ? `"${plain.replaceAll('"', '""')}"` : plain;
}
