// A field for a time: shown in the browser's time zone, stored in UTC.

import { Field } from './fields.tsx';
import './time-field.css';

type Parts = {
  readonly label: string;
  /** JSON pointer of the value in the request body. */
  readonly at?: string;
  /** RFC 3339 in UTC; empty if not set. */
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
    <Field label={label} pointer={at} class="time-field">
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

/** Formats a time for the field: the Swedish format is ISO 8601. */
function localText(value: string): string {
  const time = new Date(value);
  return Number.isNaN(time.getTime()) ? '' : time.toLocaleString('sv-SE').replace(' ', 'T');
}
