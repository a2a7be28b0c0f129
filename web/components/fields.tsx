// Form fields with their validation errors.

import type { ComponentChildren } from 'preact';
import { useId } from 'preact/hooks';
import { useFieldError } from './field-errors.tsx';
import { Suggestions } from './suggestions.tsx';
import './fields.css';

type FieldParts = {
  readonly label: string;
  /** JSON pointer of the value in the request body; omitted if the form shows its errors elsewhere. */
  readonly pointer?: string | undefined;
};

type Labelled = FieldParts & {
  readonly class?: string;
  /** Explanation of the value. */
  readonly meaning?: string | undefined;
  readonly children: (attributes: { readonly id: string; readonly 'aria-invalid': boolean }) => ComponentChildren;
};

/** The label, explanation and error around a control. */
export function Field({ label, pointer, class: style, meaning, children }: Labelled) {
  const fault = useFieldError(pointer);
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
  /** Explanations of options. */
  readonly meanings?: Readonly<Partial<Record<Value, string>>>;
};

export function Choice<Value extends string>({ label, pointer, value, options, onChange, meanings }: Choice<Value>) {
  const choose = (text: string) => {
    const chosen = options.find((one) => one === text);
    if (chosen !== undefined) onChange(chosen);
  };
  return (
    <Field label={label} pointer={pointer} meaning={meanings?.[value]}>
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
  /** Suggestions; other values can be typed. */
  readonly offered?: readonly string[];
};

export function Text({ label, pointer, value, onChange, required = false, maxLength = 1_000, placeholder = '', offered = [] }: Text) {
  const list = useId();
  return (
    <Field label={label} pointer={pointer}>
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

type WholeNumber = FieldParts & {
  readonly value: number;
  readonly min: number;
  readonly max: number;
  readonly onChange: (value: number) => void;
};

/** A required whole number. */
export function WholeNumber({ label, pointer, value, min, max, onChange }: WholeNumber) {
  return (
    <Field label={label} pointer={pointer}>
      {(attributes) => (
        <input
          {...attributes}
          type="number"
          step={1}
          min={min}
          max={max}
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

type OptionalNumber = FieldParts & {
  /** Null if empty. */
  readonly value: number | null;
  readonly min: number;
  readonly max: number;
  readonly step: number | 'any';
  /** The meaning of an empty field. */
  readonly placeholder: string;
  readonly onChange: (value: number | null) => void;
};

/** An optional number. */
export function OptionalNumber({ label, pointer, value, min, max, step, placeholder, onChange }: OptionalNumber) {
  return (
    <Field label={label} pointer={pointer}>
      {(attributes) => (
        <input
          {...attributes}
          type="number"
          min={min}
          max={max}
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

type Checkbox = FieldParts & { readonly isOn: boolean; readonly onChange: (isOn: boolean) => void };

/** A checkbox. */
export function Checkbox({ label, pointer, isOn, onChange }: Checkbox) {
  const fault = useFieldError(pointer);
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
