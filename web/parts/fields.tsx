// Fields of forms.

type Choice<Value extends string> = {
  readonly label: string;
  readonly value: Value;
  readonly options: readonly Value[];
  readonly onChange: (value: Value) => void;
  /** What an option means, where its name does not say. */
  readonly meanings?: Readonly<Partial<Record<Value, string>>>;
};

export function Choice<Value extends string>({ label, value, options, onChange, meanings }: Choice<Value>) {
  const choose = (text: string) => {
    const chosen = options.find((one) => one === text);
    if (chosen !== undefined) onChange(chosen);
  };
  const meaning = meanings?.[value];
  return (
    <label>
      <span>{label}</span>
      <select value={value} onChange={({ currentTarget }) => choose(currentTarget.value)}>
        {options.map((one) => (
          <option key={one} value={one}>
            {one}
          </option>
        ))}
      </select>
      {meaning !== undefined && <small class="soft">{meaning}</small>}
    </label>
  );
}

type Text = {
  readonly label: string;
  readonly value: string;
  readonly onChange: (value: string) => void;
  readonly required?: boolean;
  readonly maxLength?: number;
  readonly placeholder?: string;
};

export function Text({ label, value, onChange, required = false, maxLength = 1_000, placeholder = '' }: Text) {
  return (
    <label>
      <span>{label}</span>
      <input
        autoComplete="off"
        value={value}
        required={required}
        maxLength={maxLength}
        placeholder={placeholder}
        onInput={({ currentTarget }) => onChange(currentTarget.value)}
      />
    </label>
  );
}

type Whole = {
  readonly label: string;
  readonly value: number;
  readonly least: number;
  readonly most: number;
  readonly onChange: (value: number) => void;
};

/** A whole number. */
export function Whole({ label, value, least, most, onChange }: Whole) {
  return (
    <label>
      <span>{label}</span>
      <input
        type="number"
        step={1}
        min={least}
        max={most}
        required
        value={value}
        onInput={({ currentTarget }) => {
          if (Number.isInteger(currentTarget.valueAsNumber)) onChange(currentTarget.valueAsNumber);
        }}
      />
    </label>
  );
}
