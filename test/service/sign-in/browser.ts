// A browser of a test: follows redirects between the service and the provider, and keeps cookies by origin and path.

type Cookie = { readonly value: string; readonly path: string };

export class Browser {
  readonly #cookies = new Map<string, Map<string, Cookie>>();

  /** Returns the cookies of an origin, by name. */
  cookies(origin: string): ReadonlyMap<string, Cookie> {
    return this.#jar(origin);
  }

  /** Sets a cookie that the service did not send. */
  set(origin: string, name: string, cookie: Cookie): void {
    this.#jar(new URL(origin).origin).set(name, cookie);
  }

  async open(
    address: string,
    init: { readonly method?: string; readonly headers?: Record<string, string>; readonly body?: string } = {},
  ): Promise<Response> {
    const url = new URL(address);
    const jar = this.#jar(url.origin);
    const cookies = [...jar].filter(([, { path }]) => url.pathname.startsWith(path)).map(([name, { value }]) => `${name}=${value}`);
    const response = await fetch(url, { ...init, redirect: 'manual', headers: { ...init.headers, cookie: cookies.join('; ') } });
    for (const line of response.headers.getSetCookie()) keep(jar, line);
    return response;
  }

  /** Follows redirects until a page; returns its URL. */
  async follow(address: string): Promise<string> {
    let url = address;
    for (let step = 0; step < 20; step += 1) {
      const response = await this.open(url);
      const location = response.headers.get('location');
      if (location === null) return url;
      url = new URL(location, url).href;
    }
    throw new Error('too many redirects');
  }

  #jar(origin: string): Map<string, Cookie> {
    const jar = this.#cookies.get(origin) ?? new Map<string, Cookie>();
    this.#cookies.set(origin, jar);
    return jar;
  }
}

function keep(jar: Map<string, Cookie>, line: string): void {
  const [pair = '', ...attributes] = line.split(/; */);
  const separator = pair.indexOf('=');
  const [name, value] = [pair.slice(0, separator), pair.slice(separator + 1)];
  const attribute = (wanted: string) => attributes.find((one) => one.toLowerCase().startsWith(`${wanted}=`))?.split('=')[1];
  const expires = attribute('expires');
  const isDeletion = attribute('max-age') === '0' || (expires !== undefined && new Date(expires) <= new Date());
  if (isDeletion) jar.delete(name);
  else jar.set(name, { value, path: attribute('path') ?? '/' });
}
