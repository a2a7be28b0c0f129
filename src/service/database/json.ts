// JSON values for the database.

/** A value for a JSON column. The wrapper distinguishes JSON from a string. */
export class Json {
  readonly text: string;

  private constructor(text: string) {
    this.text = text;
  }

  /** @param value Any value that `JSON.stringify` serializes. */
  static of(value: unknown): Json {
    return new Json(JSON.stringify(value));
  }

  /** @param text A JSON document. */
  static ofText(text: string): Json {
    return new Json(text);
  }
}
