import { describe, expect, it } from 'vitest';
import { mediaFileOf } from '../../src/protocol/mediaFile.js';

describe('a piece of media', () => {
  it.each([
    ['a data URL', 'image', 'data:image/png;base64,AA==', 'data:image/png;base64,AA==', 'image/png'],
    ['an address of a known type', 'image/webp', 'https://e.com/a', 'https://e.com/a', 'image/webp'],
    ['an address of an image', 'image', 'https://e.com/a', 'https://e.com/a', 'image/*'],
    ['base64 of a known type', 'audio/mpeg', 'SUQzAA', 'data:audio/mpeg;base64,SUQzAA', 'audio/mpeg'],
    ['a PNG in base64', 'image', 'iVBORw0KGgo=', 'data:image/png;base64,iVBORw0KGgo=', 'image/png'],
    ['a JPEG in base64', 'image', '/9j/4AAQ', 'data:image/jpeg;base64,/9j/4AAQ', 'image/jpeg'],
    ['inline data', 'image/png', { mimeType: 'image/png', data: 'AA==' }, 'data:image/png;base64,AA==', 'image/png'],
    [
      'a file by its address',
      'f',
      { mimeType: 'video/mp4', fileUri: 'https://e.com/v' },
      'https://e.com/v',
      'video/mp4',
    ],
    ['a part of a message', 'image', { type: 'image', image: 'https://e.com/a' }, 'https://e.com/a', 'image/*'],
    ['an image of a chat', 'image', { image_url: { url: 'https://e.com/a' } }, 'https://e.com/a', 'image/*'],
  ])('is a file where it is %s', (_, kind, content, url, mediaType) => {
    expect(mediaFileOf({ kind, content })).toStrictEqual({ url, mediaType });
  });

  it.each([
    ['a piece of audio in base64', 'audio', 'AAAA'],
    ['audio of a chat', 'audio', { id: 'a1', data: 'AAAA', transcript: 'hi' }],
    ['an address that no page can open', 'video/mp4', { mimeType: 'video/mp4', fileUri: 'gs://bucket/v' }],
    ['a script', 'image', 'javascript:alert(1)'],
    ['an address of an unknown type', 'file', 'https://e.com/a'],
    ['a number', 'image', 5],
    ['nothing', 'image', null],
    ['a list', 'image', ['iVBORw0KGgo=']],
    ['empty', 'image/png', ''],
  ])('is none where it is %s', (_, kind, content) => {
    expect(mediaFileOf({ kind, content })).toBeUndefined();
  });
});
