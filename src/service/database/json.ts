// JSON that is written to the database.

/** A value for a column of JSON. By itself a text would not be told from JSON. */
export class Json {
  readonly text: string;

  private constructor(text: string) {
    this.text = text;
  }

  /** @param value Anything that `JSON.stringify` has a text for. */
  static of(value: unknown): Json {
    return new Json(JSON.stringify(value));
  }

  /** @param text A JSON document. */
  static ofText(text: string): Json {
    return new Json(text);
  }
}
