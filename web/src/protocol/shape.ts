/** Small parsers for JSON values: each returns the typed value or throws `ShapeError`. Unknown fields are ignored. */

export class ShapeError extends Error {}

/** A name that a later release may know. */
export class UnknownName extends ShapeError {}

export type Shape<T> = (value: unknown) => T;

export const text: Shape<string> = (value) => {
  if (typeof value !== 'string') throw new ShapeError('not a string');
  return value;
};

export const flag: Shape<boolean> = (value) => {
  if (typeof value !== 'boolean') throw new ShapeError('not a boolean');
  return value;
};

/** A non-negative integer. */
export const count: Shape<number> = (value) => {
  if (typeof value !== 'number' || !Number.isSafeInteger(value) || value < 0) throw new ShapeError('not a count');
  return value;
};

export function list<T>(item: Shape<T>): Shape<T[]> {
  return (value) => {
    if (!Array.isArray(value)) throw new ShapeError('not a list');
    return value.map(item);
  };
}

/** As `list`; items of kinds that a later release made are left out. */
export function listOfKnown<T>(item: Shape<T>): Shape<T[]> {
  return (value) => {
    if (!Array.isArray(value)) throw new ShapeError('not a list');
    return value.flatMap((each) => {
      try {
        return [item(each)];
      } catch (error) {
        if (error instanceof UnknownName) return [];
        throw error;
      }
    });
  };
}

export function oneOf<const T extends string>(names: readonly T[]): Shape<T> {
  return (value) => {
    const found = names.find((name) => name === value);
    if (found === undefined) throw typeof value === 'string' ? new UnknownName(value) : new ShapeError('not a name');
    return found;
  };
}

/** As `oneOf`; a name that a later release made is `other`. */
export function oneOfOr<const T extends string, O extends string>(names: readonly T[], other: O): Shape<T | O> {
  const known = oneOf(names);
  return (value) => {
    try {
      return known(value);
    } catch (error) {
      if (error instanceof UnknownName) return other;
      throw error;
    }
  };
}

/** What an object's missing field means: an error, left out, or a default. */
type Field<T> = Shape<T> | { shape: Shape<T>; missing: () => T | undefined };

export function optional<T>(shape: Shape<T>): { shape: Shape<T>; missing: () => undefined } {
  return { shape, missing: () => undefined };
}

export function defaulted<T>(shape: Shape<T>, value: T): { shape: Shape<T>; missing: () => T } {
  return { shape, missing: () => value };
}

/** The fields must fit `T`; TypeScript checks the names, the tests check the optional ones. */
export function object<T extends object>(fields: { [K in keyof T]-?: Field<Exclude<T[K], undefined>> }): Shape<T> {
  const entries = Object.entries(fields) as [string, Field<unknown>][];
  return (value) => {
    if (typeof value !== 'object' || value === null || Array.isArray(value)) throw new ShapeError('not an object');
    const source = value as Record<string, unknown>;
    const result: Record<string, unknown> = {};
    for (const [name, field] of entries) {
      const present = source[name];
      if (typeof field === 'function') {
        result[name] = field(present);
      } else {
        const parsed = present === undefined || present === null ? field.missing() : field.shape(present);
        if (parsed !== undefined) result[name] = parsed;
      }
    }
    return result as T;
  };
}
