// The part of Temporal that is used here. TypeScript 5.9 has no types for it.

declare namespace Temporal {
  class Instant {
    static fromEpochMilliseconds(milliseconds: number): Instant;
    /** @throws {RangeError} for an unknown time zone. */
    toZonedDateTimeISO(timeZone: string): ZonedDateTime;
  }
  class ZonedDateTime {
    readonly epochMilliseconds: number;
    /** The next moment at which the zone's offset from UTC changes; null if there is none. */
    getTimeZoneTransition(direction: 'next'): ZonedDateTime | null;
    toPlainDateTime(): PlainDateTime;
  }
  class PlainDate {
    /** From 1, Monday, to 7, Sunday. */
    readonly dayOfWeek: number;
    add(duration: { readonly days: number }): PlainDate;
    toPlainDateTime(time: PlainTime): PlainDateTime;
  }
  class PlainTime {
    static from(text: string): PlainTime;
    /** `HH:MM:SS`, with a fraction if there is one. */
    toString(): string;
  }
  class PlainDateTime {
    toPlainDate(): PlainDate;
    toPlainTime(): PlainTime;
    until(other: PlainDateTime): Duration;
    /** Returns -1, 0 or 1. */
    static compare(one: PlainDateTime, other: PlainDateTime): number;
  }
  class Duration {
    /** With days of 24 hours. */
    total(unit: 'milliseconds'): number;
  }
}
