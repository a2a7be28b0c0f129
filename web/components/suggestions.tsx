// Suggestions of a text field; other values can be typed.

type Parts = {
  /** The ID that the field's `list` attribute names. */
  readonly id: string;
  readonly offered: readonly string[];
};

export function Suggestions({ id, offered }: Parts) {
  return (
    <datalist id={id}>
      {offered.map((one) => (
        <option key={one} value={one} />
      ))}
    </datalist>
  );
}
