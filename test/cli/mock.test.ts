import { describe, expect, it } from 'vitest';
import { cli } from './harness.js';

const QUESTION = { model: 'm', stream: true, messages: [{ role: 'user', content: 'hi' }] };

describe('millrace mock', () => {
  it('prints where it answers, answers, and prints a line for each request', async () => {
    const { stdout, stop, exitCode } = cli(['mock', '--pace', '0', '--cors']);
    const [, url = ''] = await stdout.transcript.waitFor(/polargrid +(http:\/\/127\.0\.0\.1:\d+\S*)\n/);
    expect(stdout.text).toMatch(/infernet +http:.*\n.*infernetOrigin +http:.*\n.*infron.*\n.*inferencesh.*\n.*gateway/);
    expect(stdout.text).toContain(`curl -N ${url}/chat/completions`);
    const response = await fetch(`${url}/chat/completions`, {
      method: 'POST',
      headers: { authorization: 'Bearer any' },
      body: JSON.stringify(QUESTION),
    });
    expect(response.headers.get('access-control-allow-origin')).toBe('*');
    expect(await response.text()).toMatch(/data: \[DONE\]\n\n$/);
    await stdout.transcript.waitFor(/POST \/polargrid\/v1\/chat\/completions {2}answered {2}\d+ bytes/);
    stop();
    expect(await exitCode).toBe(0);
  });

  it('asks for no key when told so', async () => {
    const { stdout } = cli(['mock', '--pace', '0', '--no-auth']);
    const [, url = ''] = await stdout.transcript.waitFor(/polargrid +(http:\/\/127\.0\.0\.1:\d+\S*)\n/);
    expect(stdout.text).not.toMatch(/authorization/);
    const response = await fetch(`${url}/chat/completions`, { method: 'POST', body: JSON.stringify(QUESTION) });
    expect(response.status).toBe(200);
    await response.text();
  });

  it('says on one line that a port is taken', async () => {
    const first = cli(['mock']);
    const [, port = ''] = await first.stdout.transcript.waitFor(/127\.0\.0\.1:(\d+)/);
    const { stderr, exitCode } = cli(['mock', '--port', port]);
    expect(await exitCode).toBe(1);
    expect(stderr.text).toMatch(/^millrace: .*EADDRINUSE.*\n$/);
  });

  it('refuses a port that is none', async () => {
    const { stderr, exitCode } = cli(['mock', '--port', '70000']);
    expect(await exitCode).toBe(2);
    expect(stderr.text).toMatch(/^millrace: .*65535.*\n$/);
  });
});
