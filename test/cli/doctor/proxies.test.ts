import { describe, expect, it } from 'vitest';
import { proxiesOf, proxyChecks, proxyFor } from '../../../src/cli/doctor/proxies.js';

const env = {
  HTTPS_PROXY: 'http://me:word@proxy.example:3128',
  NO_PROXY: 'localhost, .internal.example,*.corp:8443 bare.example',
};

describe('proxyFor', () => {
  it.each([
    ['https://api.example/v1', true],
    ['http://api.example/v1', false], // there is none for http
    ['https://localhost:8080/', false],
    ['https://a.internal.example/', false],
    ['https://internal.example/', false],
    ['https://notinternal.example/', true],
    ['https://a.corp:8443/', false],
    ['https://a.corp/', true],
    ['https://BARE.example/', false],
  ])('sends %s through it: %s', (url, isThrough) => {
    expect(proxyFor(new URL(url), proxiesOf(env))?.host).toBe(isThrough ? 'proxy.example:3128' : undefined);
  });

  it('reads the lower-case name first, and an empty one as none', () => {
    expect(proxiesOf({ https_proxy: '', HTTPS_PROXY: 'http://a' }).https).toBe('');
    expect(proxyFor(new URL('https://x'), proxiesOf({ https_proxy: 'http://b', HTTPS_PROXY: 'http://a' }))?.host).toBe(
      'b',
    );
    expect(proxyFor(new URL('https://x'), proxiesOf({ HTTPS_PROXY: 'http://a', NO_PROXY: '*' }))).toBeUndefined();
  });
});

describe('proxyChecks', () => {
  it('tells what is set without its credentials', () => {
    const says = proxyChecks(env, 'm').map((check) => check.says);
    expect(says[0]).toBe('HTTPS_PROXY is http://proxy.example:3128/');
    expect(says.join(' ')).not.toMatch(/me:|word/);
  });

  it('finds one that is no URL, which it does not show, and one that nobody obeys', () => {
    const [check] = proxyChecks({ HTTP_PROXY: 'me:word@proxy' }, 'm');
    expect(check?.verdict).toBe('broken');
    expect(check?.says).not.toContain('word');
    expect(proxyChecks({ ALL_PROXY: 'socks5://a' }, 'm')[0]).toMatchObject({ verdict: 'warning' });
    expect(proxyChecks({}, 'm')).toMatchObject([{ verdict: 'ok', says: 'none in the environment' }]);
  });
});
