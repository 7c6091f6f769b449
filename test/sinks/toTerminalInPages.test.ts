import { PassThrough } from 'node:stream';
import { expect, it, vi } from 'vitest';
import { toTerminal } from '../../src/sinks/toTerminal.js';

vi.mock('#io', () => import('../../src/internal/io.web.js'));

it('says why a page has no terminal, whatever it is given', () => {
  expect(() => toTerminal()).toThrow(TypeError);
  expect(() => toTerminal()).toThrow('toTerminal needs a terminal, which only Node has; in a page use toElement()');
  expect(() => toTerminal({ stream: new PassThrough() })).toThrow(TypeError);
});
