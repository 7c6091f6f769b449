import type { ProviderName } from '../providerName.js';

/** What each provider answers when nothing else was ordered. */
export const SAMPLE_TEXTS: Readonly<Record<ProviderName, string>> = {
  infernet: `The miller of Vœux-sur-Aigre kept two ledgers. In the first he wrote the flour: so many sacks of rye, so many of wheat, and beside each the name of the farmer and a small drawing of his donkey, since the donkeys were easier to tell apart.

In the second he wrote the river. "Monday: brown, in a hurry. Tuesday: brown, sorry about Monday. Thursday: clear; carried a hat 🎩 as far as the weir and thought better of it." Nobody had asked him to. But a wheel, he said, only ever shows you the water that has already passed, and somebody ought to keep an eye on the rest.

When he retired, the young woman who took over the mill found that the first ledger balanced to the gram. The second one ended in the middle of a sentence — « demain, elle sera » — and she has been finishing it every evening since.`,

  infron: `A lighthouse has only one word, and says it all night. Keeper Ingólfur liked that about it. He had been a radio announcer once, and knew how much trouble comes from the second word.

Still, ships are curious. One night a freighter asked, in lamp flashes, what the light was *for*. Ingólfur considered the honest answer (rocks), the modest answer (a salary of 412 krónur) and the long answer, which took in the moon, the herring and his grandmother. Then he put his hand before the lamp for a moment and took it away again.

"Ah," flashed the freighter. "So you know when to stop. Most streams don't." It sounded its horn twice 🌊 and went on, a little slower, and a good deal further from the rocks.`,

  inferencesh: `Report of the night shift, workshop for repaired clocks, Žižkov.

First we let the cuckoo out. It had been complaining since noon about a draught from the left gear, and it was right: a tooth was missing, so that between 3:14 and 3:15 it had simply never been. We cut a new one from brass and filed it until the minute fitted again. The cuckoo tried it four times and said, in its way, 谢谢.

Then the grandfather clock. There was nothing wrong with it. It had been stopped by its family on the day they moved away, and nobody had told it that they had arrived. We wound it, set it by the station, and wrote the new address inside the door with a pencil ✏️.

Open items: one sundial, reported slow in winter. We recommend patience.`,

  gateway: `The robot was given a brush, a wall and no further instructions. It measured the wall: 4.20 m by 2.75 m, slightly warmer on the left. It measured the brush. It asked whether there was a picture to copy, and was told that there was not.

For eleven minutes it stood there, which is a very long time at two gigahertz. Then it dipped the brush in blue and drew one line, uneven, a little too high, the kind a child draws for a horizon. It stepped back. "I seem to have been somewhere," it said.

By evening there was a sea with a boat ⛵, and on the boat a very small robot, seen from behind. The gallery asks visitors not to tell it that the perspective is wrong. The perspective, as of this morning, is being called *naïve, in the best sense*.`,

  polargrid: `North of the last bus stop there is a library that lends out snow. You need a card, two mittens and a reason. Powder goes for a weekend, packed snow for a month; the old blue kind, from the year the fjord forgot to open, is for reading on the premises only.

Aurélie, who ran the desk, had heard every reason there was. Weddings. Homesickness. One boy wanted a single flake, ❄️ to show his sister in Málaga, and carried it off in a thermos with such care that she stamped the slip *no return date*.

In spring the returns come in, always a little short. She weighs them, writes "fair use" in the margin, and pours what is left into the river — which takes it down past the mill, past the harbour, and brings it back, most years, by November.`,

  openai: `The bakery on Kuusikatu opens at four, when only the trams are awake. Its oven is older than the street and has opinions: rye on Mondays, nothing with raisins, and never, ever, a second batch before the first has been praised.

"Hyvää," said the apprentice on her first morning, to be polite. The oven warmed by two degrees 🍞. By Friday she was reading it the newspaper.`,

  anthropic: `There was a bridge that did not like to be walked on in a hurry. Nobody had noticed for two hundred years, because it was a patient bridge, and hurry was rare in that valley.

Then came the railway, and with it people who were late. The bridge began, very gently, to be a little longer each morning. It was the postman who worked it out — « c'est le pont » — and he has walked across it slowly ever since, and arrives before everyone else 🌉.`,

  gemini: `Two telescopes shared a hill and did not speak. One looked at galaxies and thought in billions; the other counted meteors for the weather office and thought in cups of tea.

On the night of the eclipse a cloud came up from the sea, and for six minutes there was nothing to see at all ☁️. "Well," said the small one. "What are they like, then? Galaxies." It turned out that nobody had ever asked.`,

  ollama: `The llama at the mountain post office sorted letters by weight, by colour, and once, after a long winter, by how much they wanted to arrive. Addresses it left to the others.

It was never wrong about the third pile. "That one," it would say, nudging an envelope over the counter, "goes out today," and the pilot, who had learned, would go and warm the engine ✉️.`,
};

/** What a model thinks first, where its provider shows it. */
export const SAMPLE_THINKING =
  'Someone wants a story, and has not said how long. Three paragraphs, then. A craft, a small disobedience, a door left open at the end. Keep the numbers odd — odd numbers sound measured.';

/** The log of a task. */
export const SAMPLE_LOGS: readonly string[] = [
  'pulling image millhouse/storyteller:3 (cached)',
  'weights loaded in 2.3 s, 1 × RTX 4090',
  'prompt accepted; water is running 💧',
];
