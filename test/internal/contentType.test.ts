import { describe, expect, it } from 'vitest';
import { isAcceptable, mediaType } from '../../src/internal/contentType.js';

describe('the media type', () => {
  it.each<[string | undefined, string]>([
    ['text/event-stream', 'text/event-stream'],
    ['Text/Event-Stream; charset=utf-8', 'text/event-stream'],
    ['  application/x-ndjson  ;q=1;x="a;b"', 'application/x-ndjson'],
    ['', ''],
    [';charset=utf-8', ''],
    [undefined, ''],
  ])('of %j is %j', (header, type) => {
    expect(mediaType(header)).toBe(type);
  });
});

describe('an answer', () => {
  const asked = ['text/event-stream', 'application/x-ndjson'];

  it.each([
    'text/event-stream',
    'application/x-ndjson',
    'text/plain',
    'application/octet-stream',
    'application/jsonl',
    '',
  ])('of type %j may be a stream', (type) => {
    expect(isAcceptable(type, asked)).toBe(true);
  });

  it.each(['text/html', 'application/xhtml+xml', 'application/json', 'application/problem+json'])(
    'of type %s is none unless it was asked for',
    (type) => {
      expect(isAcceptable(type, asked)).toBe(false);
      expect(isAcceptable(type, [...asked, type.toUpperCase()])).toBe(true);
      expect(isAcceptable(type, [`${type}; q=0.5`])).toBe(true);
      expect(isAcceptable(type, ['*/*'])).toBe(true);
    },
  );
});
