// Formats numbers.

const whole = new Intl.NumberFormat('en-GB', { maximumFractionDigits: 0 });
const short = new Intl.NumberFormat('en-GB', { notation: 'compact', maximumSignificantDigits: 3 });

export const countText = (count: number) => whole.format(count);

/** Formats a number with three significant digits, such as 1.24M. */
export const shortText = (value: number) => short.format(value);

/** Formats a count with its noun: "1 page", "2 pages". */
export const counted = (count: number, one: string, many = `${one}s`) => `${countText(count)} ${count === 1 ? one : many}`;
