// What a field offers to be typed into it; anything else may be typed too.

type Parts = {
  /** By which the field names it as its `list`. */
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
