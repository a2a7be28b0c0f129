// Comma-separated values (RFC 4180).

/** Returns one CSV line; null and undefined are empty fields. A string that a spreadsheet would evaluate as a formula is prefixed with an apostrophe. */
export function csvLine(values: readonly (string | number | null | undefined)[]): string {
  return `${values.map((value) => (typeof value === 'string' ? quote(value) : String(value ?? ''))).join(',')}\r\n`;
}

/** Spreadsheets evaluate cells that begin with these characters (OWASP, CSV injection). */
const formula = /^[=+\-@\t\r]/;

function quote(text: string): string {
  const plain = formula.test(text) ? `'${text}` : text;
  return /[",\r\n]/.test(plain) ? `"${plain.replaceAll('"', '""')}"` : plain;
}
