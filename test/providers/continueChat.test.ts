import { describe, expect, it } from 'vitest';
import { continueChat } from '../../src/providers/continueChat.js';

const user = { role: 'user', content: 'Where?' };

describe('the request for the rest of an answer', () => {
  it('is the same with the text so far as the assistant’s turn', () => {
    expect(continueChat({ model: 'm', temperature: 0, messages: [user] }, 'Ly')).toEqual({
      model: 'm',
      temperature: 0,
      messages: [user, { role: 'assistant', content: 'Ly' }],
    });
  });

  it('adds to a turn that the caller began, and keeps what else is in it', () => {
    const begun = { role: 'assistant', content: 'In ', name: 'guide', prefix: true };
    expect(continueChat({ messages: [user, begun] }, 'Ly')?.messages).toEqual([user, { ...begun, content: 'In Ly' }]);
  });

  it.each([
    ['is of tools alone', { role: 'assistant', content: null, tool_calls: [] }],
    ['has no content', { role: 'assistant' }],
    ['is made of parts', { role: 'assistant', content: [{ type: 'text', text: 'In ' }] }],
    ['is the user’s', user],
    ['is a tool’s', { role: 'tool', content: '42', tool_call_id: 'c1' }],
  ])('begins a turn of its own after one that %s', (_, last) => {
    expect(continueChat({ messages: [user, last] }, 'Ly')?.messages).toEqual([
      user,
      last,
      { role: 'assistant', content: 'Ly' },
    ]);
  });

  it('may be without a message before it', () => {
    expect(continueChat({ messages: [] }, 'Ly')?.messages).toEqual([{ role: 'assistant', content: 'Ly' }]);
  });

  it('is none where several answers were asked for: the text is that of one', () => {
    expect(continueChat({ messages: [user], n: 2 }, 'Ly')).toBeUndefined();
    for (const n of [1, 0, null, undefined]) {
      expect(continueChat({ messages: [user], n }, 'Ly')).toMatchObject({ messages: [user, { content: 'Ly' }] });
    }
  });

  it('leaves the request that was given as it is', () => {
    const request = Object.freeze({
      messages: Object.freeze([Object.freeze(user), Object.freeze({ role: 'assistant', content: 'In ' })]),
    });
    const before = structuredClone(request);
    continueChat(request, 'Ly');
    expect(request).toEqual(before);
  });

  it('grows by what came since, however often it is continued', () => {
    const first = continueChat({ messages: [user] }, 'Ly');
    expect(first && continueChat(first, 'on')?.messages).toEqual([user, { role: 'assistant', content: 'Lyon' }]);
  });
});
