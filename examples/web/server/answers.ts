/** What the stand-in for the providers says. Prose, so that there is something to read while it comes. */

/** An answer of the miller, and what he thinks before he speaks. */
export interface ChatAnswer {
  /** Words of the question that it answers. */
  readonly about: RegExp;
  readonly thinking: string;
  readonly text: string;
}

const MEANDER: ChatAnswer = {
  about: /meander|bend|winding|curve/i,
  thinking: `They ask why rivers bend. The quick answer is "because the ground does", and it is wrong: rivers meander on perfectly even plains, and even on glass. Begin with a small bend, then the faster water outside, then the spiral at the bottom. The mill comes in at the end; it is what I know.`,
  text: `A river on a plain is never quite straight to begin with. A fallen willow or a patch of clay is enough: the water leans a little to one side, and from then on it cannot leave the matter alone.

On the outside of the bend the water is **faster**, and it takes soil from the bank. On the inside it is **slower**, and it lays soil down again. So the bend grows. Along the bed a second current runs across the first, from the outer bank to the inner one, and carries the sand over in a slow spiral. Einstein explained that part in 1926, with the help of a cup of tea and the leaves at the bottom of it.

In the end a bend comes round so far that it meets itself. One spring the river goes straight over the neck, and what is left is an oxbow lake: a curve without a river.

We millers have a practical view of this. A bend means that the river goes a long way round to come down a small step. We take the short way, and put a wheel in it.`,
};

const WHEELS: ChatAnswer = {
  about: /wheel|overshot|undershot|power|how much/i,
  thinking: `Which wheel is best? It depends on the head, that is on the height the water falls, and on how much water there is. Name the three kinds, give the efficiencies, and say which one we have. Keep it short; people skip tables.`,
  text: `It depends on how far the water falls, and on how much of it there is. There are three kinds worth knowing:

- **Undershot.** The river pushes the paddles from below. It needs no fall at all, and gives back about a quarter of what the water brings.
- **Breastshot.** The water enters at the height of the axle and leaves at the bottom. A fall of two metres is plenty; about six tenths come through.
- **Overshot.** The water is led over the top and fills buckets, so that its *weight* does the work. Eight tenths and more, if the buckets do not spill.

Ours is overshot, four metres across. Two hundred litres arrive each second, which makes about six kilowatts on a good day: enough for one pair of stones and a lamp over the door.

Whatever the kind, a wheel is only as good as its race. Water that arrives in gulps makes flour in gulps.`,
};

const RACE: ChatAnswer = {
  about: /race|leat|channel|weir|sluice/i,
  thinking: `A millrace. They may know the word from somewhere else. Head race, wheel, tail race; the weir that lifts the water, the sluice that lets it through. And the spillway: it is the part that nobody mentions, and the part that saves the mill.`,
  text: `A millrace is the channel that leads a river to the wheel. It leaves the river at a weir, runs along the slope with almost no fall of its own, and so arrives at the mill higher than the river beside it. That difference is all that a mill ever sells.

The part above the wheel is the *head race*, the part below is the *tail race*, and between them stands a gate, the **sluice**. Open it, and the stones turn. Close it, and they stop, at once: the water that was on its way does not run on through the mill in the dark. It goes over the spillway and home to the river.

A good race has three habits. It delivers every drop once. It lets no more through than the wheel can take. And when the bank breaks somewhere above, the miller hears of it before the flour does.`,
};

const EVERYTHING: ChatAnswer = {
  about: /everything|all you know/i,
  thinking: `Everything. Well, they have asked for it.`,
  text: [RACE, WHEELS, MEANDER].map(({ text }) => text).join('\n\n'),
};

const OTHER: ChatAnswer = {
  about: /^/,
  thinking: `I am a miller in an example, and my answers were written beforehand. Say so kindly, say what I can be asked, and mention the switch, since that is what people come for.`,
  text: `That is past my weir, I am afraid. I am the miller of an example: my answers were written beforehand, and a server inside this program plays them, frame by frame, as a provider would. Everything between it and you is real: the sockets, the parser, the retries, and the page.

Ask me about *meanders*, about *wheels*, or about what a *millrace* is. And try the switch below the box. A connection that is cut goes on where it broke, and nothing of the answer comes twice. One that fails for good keeps what had come, and says so.`,
};

/** In the order in which they are tried; the last one fits everything. */
export const CHAT_ANSWERS: readonly ChatAnswer[] = [EVERYTHING, MEANDER, WHEELS, RACE, OTHER];

/** The survey walks down the race in so many parts. */
export const REACHES = 12;

/** A line of its log, or how far it has come. */
export const SURVEY: readonly (string | { readonly reach: number; readonly doing: string })[] = [
  'map sheet 41 loaded, 1:2500, levels to the nearest centimetre',
  'weir crest at 88.42 m, sluice sill at 88.10 m',
  { reach: 0, doing: 'walking down from the weir' },
  { reach: 1, doing: 'weir to alder bank' },
  'reach 1: fall 4 cm in 120 m, bed clean gravel',
  { reach: 2, doing: 'alder bank' },
  { reach: 3, doing: 'the footbridge' },
  'reach 3: footbridge clears the water by 61 cm',
  { reach: 4, doing: 'the long straight' },
  'reach 4: silt 22 cm deep on the inner side, heron present',
  { reach: 5, doing: 'the long straight' },
  { reach: 6, doing: 'culvert under the lane' },
  'reach 6: culvert runs two thirds full, no cracks seen',
  { reach: 7, doing: 'the orchard' },
  'reach 7: bank slumped over 3 m, roots of an old pear tree hold the rest',
  { reach: 8, doing: 'the orchard' },
  { reach: 9, doing: 'spillway' },
  'reach 9: spillway crest level, boards sound, one missing',
  { reach: 10, doing: 'the mill pond' },
  { reach: 11, doing: 'trash rack' },
  'reach 11: trash rack cleared of leaves and one hat',
  { reach: 12, doing: 'head of the wheel' },
  'reach 12: 214 litres a second at the gate',
];

export const SURVEY_REPORT = `The race is in good order. From the weir to the wheel it falls 31 centimetres in 1,460 metres, and of the water that enters it ninety-six parts in a hundred arrive.

**To be done before winter:** dredge the long straight, where silt narrows the channel by a fifth; stake the bank in the orchard, below the pear tree; and put back the missing board of the spillway.

The hat has been left on the post by the trash rack.`;

/** What the three models say to the same question. */
export const VOICES: Readonly<Record<'overshot' | 'breastshot' | 'undershot', string>> = {
  overshot: `By weight, mostly its own past. A middling river moves a million tonnes of mountain to the sea each year, one grain at a time: first as boulders that knock on each other in the dark, then as gravel, as sand, and at last as a colour in the water.

It carries other things as well. Heat, from the plain to the coast. Seeds, which is how willows travel. Eels, in both directions. And every few years a gate, a boat or half a bridge, from people upstream to people downstream, free of charge.

What it carries longest is its bed. Dam it, and you will see: the river comes out clear and hungry below the wall, and takes from the banks what it was promised.`,
  breastshot: `Three loads, and geologists keep separate books for them.

The **bed load** rolls and hops along the bottom, and only when the river is in spate. The **suspended load** hangs in the water and makes it brown. The **dissolved load** cannot be seen at all: calcium, bicarbonate, a little salt. In a clear chalk stream, which seems to carry nothing, it is nearly everything.

Put all the rivers of the world together, and it comes to some twenty thousand million tonnes a year. The sea has been getting saltier ever since, though not in a hurry.`,
  undershot: `Sounds, if you ask me. Put one end of a pole under water and the other to your ear, and listen: gravel ticks like a great many clocks, sand hisses, and a pike makes no noise whatever.

Then the news. A river that rises in the night has been told of rain that you have not seen. When it smells of earth, a bank has come down. When it stops carrying leaves, somebody has closed a gate.

And in the end, if you let it, flour. But for that you have to talk it into a detour.`,
};
