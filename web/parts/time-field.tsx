// A field for a time whose value is in the address: read in the time zone of the browser, kept in UTC.

import './time-filter.css';

type Parts = {
  readonly label: string;
  /** RFC 3339, UTC; empty where there is none. */
  readonly value: string;
  readonly onChange: (value: string) => void;
};

export function TimeFilter({ label, value, onChange }: Parts) {
  const change = (text: string) => {
    const time = new Date(text);
    if (text === '') onChange('');
    else if (!Number.isNaN(time.getTime())) onChange(time.toISOString());
  };
  return (
    <label class="time-filter">
      <span>{label}</span>
      <input type="datetime-local" step={1} value={localText(value)} onChange={({ currentTarget }) => change(currentTarget.value)} />
    </label>
  );
}

/** As the field takes it, which is how Swedes write. */
function localText(value: string): string {
  const time = new Date(value);
  return Number.isNaN(time.getTime()) ? '' : time.toLocaleString('sv-SE').replace(' ', 'T');
}
