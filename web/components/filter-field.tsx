// Filter fields whose values are in the address. Typed text is debounced; choices apply immediately.

import { useEffect, useId, useState } from 'preact/hooks';
import { Suggestions } from './suggestions.tsx';

/** Milliseconds without input before the text is applied. */
const debounceMilliseconds = 250;

type Parts = {
  readonly label: string;
  readonly value: string;
  readonly onChange: (value: string) => void;
  readonly placeholder?: string;
  /** Suggestions; other values can be typed. */
  readonly offered?: readonly string[];
  readonly maxLength?: number;
};

export function TextFilter({ label, value, onChange, placeholder = '', offered = [], maxLength = 64 }: Parts) {
  const [text, setText] = useState(value);
  const list = useId();
  useEffect(() => setText(value), [value]);
  useEffect(() => {
    if (text === value) return;
    const timer = setTimeout(() => onChange(text), debounceMilliseconds);
    return () => clearTimeout(timer);
  }, [text]);
  return (
    <label>
      <span>{label}</span>
      <input
        type="search"
        autoComplete="off"
        spellcheck={false}
        list={offered.length > 0 ? list : undefined}
        value={text}
        placeholder={placeholder}
        maxLength={maxLength}
        onInput={({ currentTarget }) => setText(currentTarget.value)}
      />
      {offered.length > 0 && <Suggestions id={list} offered={offered} />}
    </label>
  );
}

type Choice = {
  readonly label: string;
  readonly value: string;
  readonly onChange: (value: string) => void;
  /** The label of the empty choice. */
  readonly any: string;
  readonly options: readonly string[];
};

export function ChoiceFilter({ label, value, onChange, any, options }: Choice) {
  return (
    <label>
      <span>{label}</span>
      <select value={value} onChange={({ currentTarget }) => onChange(currentTarget.value)}>
        <option value="">{any}</option>
        {options.map((one) => (
          <option key={one} value={one}>
            {one}
          </option>
        ))}
        {/* Keeps a value of the address that is not among the options. */}
        {value !== '' && !options.includes(value) && <option value={value}>{value}</option>}
      </select>
    </label>
  );
}
