// Statements of the hot paths, written by hand once for both databases, and run for many rows in one go.

/** What a value is in the database. It is given, and answered, as a text, a number, or for bytes as bytes: times are milliseconds since 1970, truth values 0 and 1, JSON is the text of an object or a list. */
export type Type = 'text' | 'integer' | 'time' | 'truth' | 'json' | 'bytes' | 'list';

/** What a statement is given, in this order, by its name in the statement's text; a list is JSON, an array of texts. */
export type Given = Readonly<Record<string, Type>>;
export type Value = string | number | null | Uint8Array;

/** A value of each type as rows of the generated client have it. */
type Typed = {
  readonly text: string | null;
  readonly integer: number | null;
  readonly time: Date | null;
  readonly truth: boolean | null;
  readonly json: never;
  readonly bytes: Uint8Array | null;
  readonly list: never;
};

/** Returns the columns of a row as a statement takes them, in the order of the columns. */
export function valuesOf<Columns extends Given>(
  columns: Columns,
  row: { readonly [Name in keyof Columns]: Typed[Columns[Name]] },
): Value[] {
  const values: Value[] = [];
  for (const name in columns) values.push(storedValue(row[name]));
  return values;
}

function storedValue(value: Typed[Type]): Value {
  if (value instanceof Date) return value.getTime();
  return typeof value === 'boolean' ? Number(value) : value;
}

/** One text for both databases, or one for each where they do not have the same words for it. */
export type Text = string | { readonly sqlite: string; readonly postgresql: string };

/** A row that is found, by the names of its columns. */
export type Found = Readonly<Record<string, unknown>>;

/** A statement that asks for rows, with what it is given as `:name`. */
export class Query<Row extends Found> {
  readonly given: Given;
  readonly text: Text;
  /** What runs it on a connection, where it is prepared for that. */
  readonly prepared = new WeakMap<object, (values: readonly Value[]) => Row[]>();
  /** What it is asked on a connection and was not sent yet, by what it is given, where those share an answer who ask the same. */
  readonly asked = new WeakMap<object, Map<string, Promise<Row[]>>>();

  constructor(given: Given, text: Text) {
    this.given = given;
    this.text = text;
  }
}

/** A statement that is carried out for each of many rows. */
export type Change = { readonly given: Given; readonly table: string } & (
  | { readonly kind: 'insert'; readonly onConflict: string }
  | { readonly kind: 'update'; readonly set: string; readonly where: string }
  | { readonly kind: 'delete'; readonly where: string }
);

/** Adds rows to a table, whose columns have the names of what is given. */
export function insertion(table: string, given: Given, onConflict = ''): Change {
  return { kind: 'insert', table, given, onConflict };
}

/** Changes what is in a table, of which no two rows given are to change the same; they are `:name` in its texts. */
export function change(table: string, given: Given, set: string, where: string): Change {
  return { kind: 'update', table, given, set, where };
}

export function removal(table: string, given: Given, where: string): Change {
  return { kind: 'delete', table, given, where };
}

/** Runs statements on one connection, in the order in which they are asked for: in a transaction, if one is open there. */
export interface Statements {
  /** Carries a change out for each row of what it is given. Answers how many rows of the table each has changed: an insertion one. */
  each(change: Change, rows: readonly (readonly Value[])[]): Promise<number[]>;
  /** Every row that a query answers. */
  all<Row extends Found>(query: Query<Row>, values: readonly Value[]): Promise<Row[]>;
}

/** The text with each `:name` in another form. */
export function withParameters(text: string, given: Given, form: (name: string, type: Type) => string): string {
  return text.replaceAll(/:([a-z]\w*)/gi, (_, name: string) => {
    const type = given[name];
    if (type === undefined) throw new Error(`the statement is not given ${name}: ${text}`);
    return form(name, type);
  });
}
