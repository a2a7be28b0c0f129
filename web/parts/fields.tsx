// Fields of forms, each with what the service has found wrong with its value.

import type { ComponentChildren } from 'preact';
import { useId } from 'preact/hooks';
import { useFault } from './faults.tsx';
import { Suggestions } from './suggestions.tsx';
import './fields.css';

type FieldParts = {
  readonly label: string;
  /** Where its value is in the body of the request, as a JSON pointer; left out where what is wrong with it is told elsewhere. */
  readonly at?: string | undefined;
};

type Labelled = FieldParts & {
  readonly class?: string;
  /** What the value means. */
  readonly meaning?: string | undefined;
  readonly children: (attributes: { readonly id: string; readonly 'aria-invalid': boolean }) => ComponentChildren;
};

/** What is around the control of a field. */
export function Field({ label, at, class: style, meaning, children }: Labelled) {
  const fault = useFault(at);
  const id = useId();
  return (
    <label class={style} for={id}>
      <span>{label}</span>
      {children({ id, 'aria-invalid': fault !== null })}
      {meaning !== undefined && <small class="soft">{meaning}</small>}
      {fault !== null && <small class="fault">{fault}</small>}
    </label>
  );
}

type Choice<Value extends string> = FieldParts & {
  readonly value: Value;
  readonly options: readonly Value[];
  readonly onChange: (value: Value) => void;
  /** What an option means, where its name does not say. */
  readonly meanings?: Readonly<Partial<Record<Value, string>>>;
};

export function Choice<Value extends string>({ label, at, value, options, onChange, meanings }: Choice<Value>) {
  const choose = (text: string) => {
    const chosen = options.find((one) => one === text);
    if (chosen !== undefined) onChange(chosen);
  };
  return (
    <Field label={label} at={at} meaning={meanings?.[value]}>
      {(attributes) => (
        <select {...attributes} value={value} onChange={({ currentTarget }) => choose(currentTarget.value)}>
          {options.map((one) => (
            <option key={one} value={one}>
              {one}
            </option>
          ))}
        </select>
      )}
    </Field>
  );
}

type Text = FieldParts & {
  readonly value: string;
  readonly onChange: (value: string) => void;
  readonly required?: boolean;
  readonly maxLength?: number;
  readonly placeholder?: string;
  /** What is offered, and may be typed otherwise. */
  readonly offered?: readonly string[];
};

export function Text({ label, at, value, onChange, required = false, maxLength = 1_000, placeholder = '', offered = [] }: Text) {
  const list = useId();
  return (
    <Field label={label} at={at}>
      {(attributes) => (
        <>
          <input
            {...attributes}
            autoComplete="off"
            value={value}
            required={required}
            maxLength={maxLength}
            placeholder={placeholder}
            list={offered.length > 0 ? list : undefined}
            onInput={({ currentTarget }) => onChange(currentTarget.value)}
          />
          {offered.length > 0 && <Suggestions id={list} offered={offered} />}
        </>
      )}
    </Field>
  );
}

type Whole = FieldParts & {
  readonly value: number;
  readonly least: number;
  readonly most: number;
  readonly onChange: (value: number) => void;
};

/** A whole number. */
export function Whole({ label, at, value, least, most, onChange }: Whole) {
  return (
    <Field label={label} at={at}>
      {(attributes) => (
        <input
          {...attributes}
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
      )}
    </Field>
  );
}

type Amount = FieldParts & {
  /** Null where the field is empty. */
  readonly value: number | null;
  readonly least: number;
  readonly most: number;
  readonly step: number | 'any';
  /** What it means that it is empty. */
  readonly placeholder: string;
  readonly onChange: (value: number | null) => void;
};

/** A number that may be left out. */
export function Amount({ label, at, value, least, most, step, placeholder, onChange }: Amount) {
  return (
    <Field label={label} at={at}>
      {(attributes) => (
        <input
          {...attributes}
          type="number"
          min={least}
          max={most}
          step={step}
          placeholder={placeholder}
          value={value ?? ''}
          onInput={({ currentTarget }) => {
            const { value: text, valueAsNumber, validity } = currentTarget;
            if (text === '' && !validity.badInput) onChange(null);
            else if (Number.isFinite(valueAsNumber)) onChange(valueAsNumber);
          }}
        />
      )}
    </Field>
  );
}

type Tick = FieldParts & { readonly isOn: boolean; readonly onChange: (isOn: boolean) => void };

/** Yes or no. */
export function Tick({ label, at, isOn, onChange }: Tick) {
  const fault = useFault(at);
  return (
    <label class="tick">
      <input
        type="checkbox"
        aria-invalid={fault !== null}
        checked={isOn}
        onChange={({ currentTarget }) => onChange(currentTarget.checked)}
      />
      <span>{label}</span>
      {fault !== null && <small class="fault">{fault}</small>}
    </label>
  );
}
