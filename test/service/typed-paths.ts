// Types of request and response bodies by the path in a test: `/v1/devices/${id}/programs?limit=1` matches `/v1/devices/{device}/programs`.

import type { Schemas } from '../../src/client/client.ts';
import type { paths } from '../../src/client/generated/api.ts';

type Method = 'get' | 'post' | 'put';

type WithoutQuery<Path extends string> = Path extends `${infer Before}?${string}` ? Before : Path;

type IsAt<Path extends string, Route extends string> = Path extends `${infer Segment}/${infer Rest}`
  ? Route extends `${infer Expected}/${infer RestOfRoute}`
    ? IsSegment<Segment, Expected> extends true
      ? IsAt<Rest, RestOfRoute>
      : false
    : false
  : Route extends `${string}/${string}`
    ? false
    : IsSegment<Path, Route>;

type IsSegment<Segment extends string, Expected extends string> = Expected extends `{${string}}`
  ? true
  : Segment extends Expected
    ? true
    : false;

type RouteAt<Path extends string> = Path extends keyof paths
  ? Path
  : { [Route in keyof paths]: IsAt<Path, Route> extends true ? Route : never }[keyof paths];

/** The operation of a method at a path; `never` if the API has none. */
type Operation<Path extends string, Of extends Method> =
  RouteAt<WithoutQuery<Path>> extends infer Route extends keyof paths ? NonNullable<paths[Route][Of]> : never;

type JsonOf<Content> = Content extends { content: infer Types }
  ? Types[keyof Types & ('application/json' | 'application/problem+json')]
  : never;

type BodyIn<Of> = Of extends { requestBody: infer Body }
  ? JsonOf<Body>
  : Of extends { requestBody?: infer Body }
    ? JsonOf<NonNullable<Body>> | undefined
    : undefined;

type ResponsesOf<Of> = Of extends { responses: infer Responses } ? JsonOf<Responses[keyof Responses]> : never;

type KeysOf<Union> = Union extends unknown ? keyof Union : never;
type ValueOf<Union, Key extends PropertyKey> = Union extends unknown ? (Key extends keyof Union ? Union[Key] : never) : never;

/** The properties of all members of a union, each optional: the response status decides at run time which member it is. */
type AnyOf<Union> = { readonly [Key in KeysOf<Union>]?: ValueOf<Union, Key> };

/** The same type, deeply readonly: a request only reads its body. */
type Readable<Value> = Value extends readonly (infer Item)[]
  ? readonly Readable<Item>[]
  : Value extends object
    ? { readonly [Key in keyof Value]: Readable<Value[Key]> }
    : Value;

/** The JSON body that a path accepts; none for a path that is known only at run time. */
export type RequestBody<Path extends string, Of extends Method> = [Operation<Path, Of>] extends [never]
  ? undefined
  : Readable<BodyIn<Operation<Path, Of>>>;

/** A schema of the API as a request body. */
export type RequestSchema<Name extends keyof Schemas> = Readable<Schemas[Name]>;

/** The body that a path returns: a result, a problem, or the text of another media type. */
export type ResponseBody<Path extends string, Of extends Method> = [Operation<Path, Of>] extends [never]
  ? Record<string, unknown>
  : AnyOf<ResponsesOf<Operation<Path, Of>> | { text: string }>;
