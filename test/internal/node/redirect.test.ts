import { describe, expect, it } from 'vitest';
import { decideRedirect, type RedirectedRequest } from '../../../src/internal/node/redirect.js';

function decide(
  status: number,
  location: string | undefined,
  request: Partial<RedirectedRequest> = {},
): ReturnType<typeof decideRedirect> {
  return decideRedirect(status, location, {
    url: new URL('https://api.example/v1/chat?key=1'),
    method: 'GET',
    hasBody: false,
    followed: 0,
    maxRedirects: 5,
    redirect: 'follow',
    ...request,
  });
}

const post = { method: 'POST', hasBody: true } as const;
const elsewhere = 'https://other.example/v1';

describe('a redirect', () => {
  it.each([200, 204, 300, 304, 305, 306, 400, 500])('is not what status %d says', (status) => {
    expect(decide(status, '/new')).toStrictEqual({ kind: 'none' });
  });

  it.each([301, 302, 303, 307, 308])(
    'with status %d is followed for a GET of the same origin, headers and all',
    (status) => {
      expect(decide(status, '/new?x=2')).toMatchObject({ kind: 'follow', method: 'GET', keepHeaders: true });
      expect(decide(status, '/new?x=2')).toMatchObject({ url: new URL('https://api.example/new?x=2') });
    },
  );

  it.each([301, 302, 303, 307, 308])('with status %d leaves the headers behind when it leads elsewhere', (status) => {
    expect(decide(status, elsewhere)).toMatchObject({ kind: 'follow', keepHeaders: false, url: new URL(elsewhere) });
  });

  it.each([
    ['another scheme', 'http://api.example/v1'],
    ['another port', 'https://api.example:8443/v1'],
    ['a subdomain', 'https://eu.api.example/v1'],
    ['a host without a scheme', '//other.example/v1'],
  ])('to %s leads elsewhere', (_, location) => {
    expect(decide(307, location)).toMatchObject({ kind: 'follow', keepHeaders: false });
  });

  it.each([307, 308])('with status %d sends a body again to the same origin', (status) => {
    expect(decide(status, '/new', post)).toMatchObject({
      kind: 'follow',
      method: 'POST',
      keepBody: true,
      keepHeaders: true,
    });
  });

  it.each([307, 308])('with status %d sends no body to another origin', (status) => {
    expect(decide(status, elsewhere, post)).toMatchObject({ kind: 'refuse' });
    expect(decide(status, elsewhere, post)).toHaveProperty('because', expect.stringContaining('https://other.example'));
  });

  it.each([301, 302])('with status %d does not turn a POST into a GET', (status) => {
    expect(decide(status, '/new', post)).toMatchObject({ kind: 'refuse' });
    expect(decide(status, '/new', { method: 'POST' })).toHaveProperty('because', expect.stringContaining('GET'));
  });

  it.each([
    ['POST', 'GET'],
    ['PUT', 'GET'],
    ['GET', 'GET'],
    ['HEAD', 'HEAD'],
  ])('with status 303 answers a %s by a %s without a body', (method, next) => {
    expect(decide(303, '/new', { ...post, method })).toMatchObject({ kind: 'follow', method: next, keepBody: false });
    expect(decide(303, elsewhere, { ...post, method })).toMatchObject({ kind: 'follow', keepHeaders: false });
  });

  it.each<[string, string | undefined, Partial<RedirectedRequest>, string]>([
    ['it names no place', undefined, {}, 'no location'],
    ['redirects are switched off', '/new', { redirect: 'error' }, "redirect: 'error'"],
    ['it is no URL', 'https://[', {}, 'not a URL'],
    ['it leads to a file', 'file:///etc/passwd', {}, 'file: URL'],
    ['it leads to data', 'data:text/event-stream,hi', {}, 'data: URL'],
  ])('is refused when %s', (_, location, request, because) => {
    expect(decide(302, location, request)).toStrictEqual({
      kind: 'refuse',
      because: expect.stringContaining(because) as string,
    });
  });

  it('is followed up to the limit', () => {
    expect(decide(302, '/new', { followed: 4 }).kind).toBe('follow');
  });
});
