/**
 * Returns a share with one decimal, like `12.5%`. Only 0 is printed as 0.0%, and only the whole as 100.0%.
 * @param whole Positive.
 */
export function formatPercent(part: number, whole: number): string {
  const tenths = Math.round((1_000 * part) / whole);
  if (tenths === 0 && part > 0) return '<0.1%';
  if (tenths === 1_000 && part < whole) return '>99.9%';
  return `${(tenths / 10).toFixed(1)}%`;
}
