import { chunk, contentTypeOf, type Expected, type FaultRow, head, layoutOf, type Player } from './faultPlay.js';
import { turns } from './faultServer.js';
import { everywhere } from './faultsOfConnections.js';

/** The reader leaves at each place of an answer, and the server does not care. */
export function faultsOfReaders(player: Player): readonly FaultRow[] {
  return (['unsubscribe', 'signal'] as const).map((leaves) => ({
    fault: `${leaves === 'signal' ? 'the signal fires' : 'unsubscribe'}; the server goes on sending`,
    cases: everywhere(({ variant, point, bytes, isOver }) => {
      // The answer is over: nobody is left who could leave.
      if (isOver || point === 'after the end') return undefined;
      const { body } = layoutOf(variant);
      const expected: Expected =
        leaves === 'signal'
          ? { end: 'ERR_ABORTED', isRetryable: false, bytes, connection: 'closed' }
          : { end: 'left', connection: 'closed' };
      return {
        leaves,
        play: async (wire) => {
          if (bytes !== undefined) {
            await wire.send(head([`content-type: ${contentTypeOf(variant)}`, 'transfer-encoding: chunked']));
            await wire.send(chunk(body.subarray(0, bytes)));
          }
          await wire.settle();
          if (!player.leave(wire))
            throw new Error(`${variant.name}, ${point}: the connection is open in the next turn`);
          const rest = chunk(body.subarray(bytes ?? 0));
          for (let i = 0; i < 20; i += 1) await wire.send(rest);
          await turns();
        },
        expected,
      };
    }),
  }));
}
