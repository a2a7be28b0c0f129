// A field for a time: read in the time zone of the browser, kept in UTC.

import { Field } from './fields.tsx';
import './time-field.css';

type Parts = {
  readonly label: string;
  /** Where its value is in the body of a request, as a JSON pointer. */
  readonly at?: string;
  /** RFC 3339, UTC; empty where there is none. */
  readonly value: string;
  readonly onChange: (value: string) => void;
};

export function TimeField({ label, at, value, onChange }: Parts) {
  const change = (text: string) => {
    const time = new Date(text);
    if (text === '') onChange('');
    else if (!Number.isNaN(time.getTime())) onChange(time.toISOString());
  };
  return (
    <Field label={label} at={at} class="time-field">
      {(attributes) => (
        <input
          {...attributes}
          type="datetime-local"
          step={1}
          value={localText(value)}
          onChange={({ currentTarget }) => change(currentTarget.value)}
        />
      )}
    </Field>
  );
}

/** As the field takes it, which is how Swedes write. */
function localText(value: string): string {
  const time = new Date(value);
  return Number.isNaN(time.getTime()) ? '' : time.toLocaleString('sv-SE').replace(' ', 'T');
}
